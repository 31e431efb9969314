// SPDX-License-Identifier: Apache-2.0
#include "safetensors_test.hpp"

#include <sys/resource.h>

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <csignal>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <filesystem>
#include <initializer_list>
#include <numeric>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <thread>
#include <utility>
#include <vector>

#include <moepar/checkpoint/disk_file.hpp>
#include <moepar/checkpoint/mapped_tensor_file.hpp>
#include <moepar/checkpoint/tensor_file.hpp>

namespace {

using moepar::DiskFile;
using moepar::Index;
using moepar::TensorEntry;
using moepar::TensorFileReader;
using moepar::TensorFileWriter;
using moepar::TensorType;
using namespace safetensors_test;

std::span<const std::byte> bytes_of(std::string_view text) { return std::as_bytes(std::span{text}); }

std::size_t size_of(Index count) { return static_cast<std::size_t>(count); }

std::vector<float> random_values(std::size_t count, std::uint64_t seed) {
  std::mt19937_64 random{seed};
  std::vector<float> values(count);
  for (float& value : values) value = static_cast<float>(static_cast<std::int64_t>(random() % 511) - 255) / 64;
  return values;
}

TEST_CASE("a disk file reads and writes at places, and grows") {
  const ScratchFolder folder;
  const std::string path = folder / "file";
  DiskFile file = DiskFile::create(path);
  file.write_at(bytes_of("world"), 6);
  file.write_at(bytes_of("hello "), 0);
  file.write_at({}, 100);
  CHECK(file.size() == 11);
  std::string text(11, '\0');
  file.read_at(std::as_writable_bytes(std::span{text}), 0);
  CHECK(text == "hello world");
  file.resize(5);
  file.sync();
  file.close();
  CHECK(file.descriptor() == -1);
  file.close();  // once more is nothing
  CHECK(bytes_of_file(path) == "hello");

  DiskFile edited = DiskFile::edit(path);
  edited.write_at(bytes_of("J"), 0);
  DiskFile moved = std::move(edited);
  moved.resize(7);
  moved = DiskFile::open(path);
  CHECK(moved.size() == 7);
  CHECK(bytes_of_file(path) == std::string{"Jello\0\0", 7});
  CHECK(holds(refusal([&] { moved.read_at(std::as_writable_bytes(std::span{text}), 0); }), "ends after 7 bytes"));
  CHECK(holds(refusal([&] { moved.write_at(bytes_of("x"), 0); }), "could not be written"));
  (void)DiskFile::create(path);
  CHECK(bytes_of_file(path).empty());
}

TEST_CASE("what is no plain file is refused with the reason") {
  const ScratchFolder folder;
  const auto opened = [](const std::string& path) { return refusal([&] { (void)DiskFile::open(path); }); };
  CHECK(holds(opened(folder / "absent"), "No such file"));
  CHECK(holds(opened(folder / "absent"), folder.path()));
  CHECK(holds(opened(folder.path()), "Is a directory"));
  CHECK(holds(opened("/dev/null"), "a pipe or a device"));
  CHECK(holds(opened(""), "''"));
  CHECK(holds(refusal([&] { (void)DiskFile::create(folder.path()); }), "Is a directory"));
  CHECK(holds(refusal([&] { (void)DiskFile::create(folder / "absent/file"); }), "could not be created"));
  CHECK(holds(refusal([&] { (void)DiskFile::edit(folder / "absent"); }), "could not be opened for writing"));
}

TEST_CASE("names are replaced and folders made") {
  const ScratchFolder folder;
  write_file(folder / "a", "new");
  write_file(folder / "b", "old");
  moepar::replace_file(folder / "a", folder / "b");
  CHECK(bytes_of_file(folder / "b") == "new");
  CHECK(folder.entries() == 1);
  CHECK(holds(refusal([&] { moepar::replace_file(folder / "a", folder / "b"); }), "could not be renamed"));
  moepar::make_folder(folder / "c");
  moepar::make_folder(folder / "c");
  CHECK(std::filesystem::is_directory(folder / "c"));
  moepar::sync_folder(folder / "c");
  moepar::sync_folder("");
  CHECK(holds(refusal([&] { moepar::make_folder(folder / "b"); }), "Not a directory"));
  CHECK(holds(refusal([&] { moepar::make_folder(folder / "d/e"); }), "No such file"));
  CHECK(holds(refusal([&] { moepar::sync_folder(folder / "d"); }), "No such file"));
}

//! Files of this process end at `bytes` while it lives, as on a full disk.
class FileLimit {
 public:
  explicit FileLimit(Index bytes) : handler_{std::signal(SIGXFSZ, SIG_IGN)} {
    ::getrlimit(RLIMIT_FSIZE, &before_);
    ::rlimit limit = before_;
    limit.rlim_cur = static_cast<::rlim_t>(bytes);
    ::setrlimit(RLIMIT_FSIZE, &limit);
  }
  FileLimit(const FileLimit&) = delete;
  FileLimit& operator=(const FileLimit&) = delete;
  ~FileLimit() {
    ::setrlimit(RLIMIT_FSIZE, &before_);
    std::signal(SIGXFSZ, handler_);
  }

 private:
  ::rlimit before_{};
  void (*handler_)(int);
};

TEST_CASE("a full disk is reported with what was still to be written, and leaves nothing behind") {
  const ScratchFolder folder;
  const std::vector<TensorEntry> entries{{"a", TensorType::F32, {10'000}}};
  std::string written, resized, created;
  {
    DiskFile file = DiskFile::create(folder / "file");
    const FileLimit limit{4096};
    written = refusal([&] { file.write_at(bytes_of(std::string(5000, 'x')), 0); });
    resized = refusal([&] { file.resize(5000); });
    created = refusal([&] { (void)TensorFileWriter::create(folder / "model", entries); });
  }
  CHECK(holds(written, "the disk is full or has a limit, with 904 bytes still to be written"));
  CHECK(holds(resized, "with 5000 bytes still to be written"));
  CHECK(holds(created, "could not be made"));
  CHECK(folder.entries() == 1);
}

TEST_CASE("a written file is read again, whole and in slices, at any address, from disk and from the mapping") {
  const ScratchFolder folder;
  const std::string path = folder / "model.safetensors";
  const std::size_t large = moepar::detail::conversion_piece * 2 + 77;  // more than one piece of a conversion
  const std::vector<TensorEntry> entries{{"bf16", TensorType::BF16, {large}},
                                         {"f16", TensorType::F16, {7, 11}},
                                         {"f32", TensorType::F32, {3, 5, 7}},
                                         {"one", TensorType::F32, {}},
                                         {"none", TensorType::F32, {0, 4}}};
  std::vector<std::vector<float>> values;
  TensorFileWriter writer = TensorFileWriter::create(path, entries, {{"format", "pt"}});
  CHECK(!std::filesystem::exists(path));
  for (const moepar::TensorEntry& entry : entries) {
    std::size_t count = 1;
    for (const std::uint64_t size : entry.shape) count *= size;
    values.push_back(random_values(count, count));  // numbers that all three types hold
    const std::span<const float> all{values.back()};
    writer.write(entry.name, static_cast<Index>(count / 3), all.subspan(count / 3));
    writer.write(entry.name, 0, all.first(count / 3));
  }
  writer.finish();
  CHECK(folder.entries() == 1);

  const TensorFileReader reader{path};
  const moepar::MappedTensorFile mapped{path};
  CHECK(reader.header() == mapped.header());
  CHECK(reader.header().metadata == moepar::TensorMetadata{{"format", "pt"}});
  CHECK(reader.find("absent") == nullptr);
  CHECK(reader.find("") == nullptr);
  std::mt19937_64 random{1};
  for (std::size_t i = 0; i < entries.size(); ++i) {
    const moepar::TensorInfo* const tensor = reader.find(entries[i].name);
    REQUIRE(tensor != nullptr);
    CHECK(tensor->shape == entries[i].shape);
    std::vector<float> found(size_of(tensor->elements()));
    reader.read(*tensor, 0, found);
    CHECK(found == values[i]);
    std::fill(found.begin(), found.end(), 0.0f);
    moepar::to_floats(tensor->type, mapped.bytes(*mapped.find(entries[i].name)).data(), found);
    CHECK(found == values[i]);
    for (int slice = 0; slice < 50; ++slice) {
      const std::size_t first = random() % (found.size() + 1), count = random() % (found.size() - first + 1);
      std::vector<float> part(count);
      reader.read(*tensor, static_cast<Index>(first), part);
      REQUIRE(std::equal(part.begin(), part.end(), values[i].begin() + static_cast<std::ptrdiff_t>(first)));
    }
    std::vector<std::byte> raw(size_of(tensor->bytes()));
    reader.read_bytes(*tensor, 0, raw);
    CHECK(std::ranges::equal(raw, mapped.bytes(*tensor)));
    std::vector<float> more(found.size() + 1);
    CHECK(holds(refusal([&] { reader.read(*tensor, 0, more); }), "Fix: stay inside the tensor"));
    if (!more.empty())
      CHECK(holds(refusal([&] { reader.read(*tensor, tensor->elements(), std::span{more}.first(1)); }), "1 elements"));
    CHECK(holds(refusal([&] { reader.read(*tensor, -1, std::span{more}.first(1)); }), "from -1 on"));
    CHECK(holds(refusal([&] { reader.read(*tensor, std::int64_t{1} << 62, std::span{more}.first(0)); }), "0 elements"));
  }
}

TEST_CASE("sample files hold the values of their list") {
  const std::string folder = (project_root() / "tests/fuzz/corpus/safetensors/good/").string();
  const auto values = [&](const char* file, const char* tensor) {
    const TensorFileReader reader{folder + file + ".safetensors"};
    const moepar::TensorInfo* const info = reader.find(tensor);
    REQUIRE(info != nullptr);
    std::vector<float> found(size_of(info->elements()));
    reader.read(*info, 0, found);
    return found;
  };
  CHECK(values("upstream_serialization", "attn.0") == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(values("upstream_forced_alignment", "attn0") == std::vector<float>{0, 1, 2, 3, 4, 5});
  CHECK(values("unaligned_header", "x") == std::vector<float>{1.5f});
  const TensorFileReader bf16{folder + "bf16_values.safetensors"};
  std::vector<float> found(4);
  bf16.read(bf16.header().tensors.front(), 0, found);
  CHECK(found[0] == 1.0f);
  CHECK(found[1] == -2.0f);
  CHECK(found[2] != found[2]);
  CHECK(std::bit_cast<std::uint32_t>(found[3]) == 0x80000000);
  const TensorFileReader ints{folder + "upstream_basic.safetensors"};
  CHECK(holds(refusal([&] { ints.read(*ints.find("test"), 0, found); }), "type I32, which is not read as numbers"));
}

TEST_CASE("files with the reference writer's data have its bytes") {
  const ScratchFolder folder;
  const std::string samples = (project_root() / "tests/fuzz/corpus/safetensors/good/upstream_").string();
  const auto written = [&](const std::vector<TensorEntry>& entries, const moepar::TensorMetadata& metadata) {
    TensorFileWriter writer = TensorFileWriter::create(folder / "x", entries, metadata);
    std::vector<float> values(6);
    std::iota(values.begin(), values.end(), 0.0f);
    for (const TensorEntry& entry : entries) writer.write(entry.name, 0, values);
    writer.finish();
    return bytes_of_file(folder / "x");
  };
  CHECK(written({{"attn.0", TensorType::F32, {1, 2, 3}}}, {}) == bytes_of_file(samples + "serialization.safetensors"));
  CHECK(written({{"attn0", TensorType::F32, {1, 1, 2, 3}}}, {}) ==
        bytes_of_file(samples + "forced_alignment.safetensors"));
  CHECK(written({}, {}) == bytes_of_file(samples + "empty.safetensors"));
  CHECK(written({}, {{"framework", "pt"}}) == bytes_of_file(samples + "empty_metadata.safetensors"));
}

TEST_CASE("several writers fill one file, and only its creator finishes it") {
  const ScratchFolder folder;
  const std::string path = folder / "model.safetensors";
  const std::vector<TensorEntry> entries{{"a", TensorType::F32, {4, 1000}}, {"b", TensorType::BF16, {16}}};
  write_file(path, "what was there before");
  const std::vector<float> values = random_values(4000, 3);
  TensorFileWriter creator = TensorFileWriter::create(path, entries, {{"format", "pt"}});
  std::vector<std::thread> threads;
  for (std::size_t rank = 0; rank < 4; ++rank)
    threads.emplace_back([&, rank] {
      TensorFileWriter joined = TensorFileWriter::join(path, entries, {{"format", "pt"}});
      joined.write("a", static_cast<Index>(1000 * rank), std::span{values}.subspan(1000 * rank, 1000));
      joined.close();
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(holds(refusal([&] { TensorFileWriter::join(path, entries, {{"format", "pt"}}).finish(); }), "did not create"));
  CHECK(holds(refusal([&] { (void)TensorFileWriter::join(path, entries); }), "is not the file"));
  CHECK(
      holds(refusal([&] { (void)TensorFileWriter::join(path, {entries[0]}, {{"format", "pt"}}); }), "is not the file"));
  CHECK(bytes_of_file(path) == "what was there before");
  TensorFileWriter moved = std::move(creator);
  moved.finish();
  CHECK(holds(refusal([&] { moved.finish(); }), "twice"));
  const TensorFileReader reader{path};
  std::vector<float> found(4000);
  reader.read(*reader.find("a"), 0, found);
  CHECK(found == values);
  found.resize(16);
  reader.read(*reader.find("b"), 0, found);
  CHECK(found == std::vector<float>(16));  // nobody wrote them
  CHECK(folder.entries() == 1);
  CHECK(holds(refusal([&] { (void)TensorFileWriter::join(path, entries); }), "could not be opened for writing"));
}

TEST_CASE("an unfinished file goes away, and what was there before stays") {
  const ScratchFolder folder;
  const std::string path = folder / "model.safetensors";
  write_file(path, "before");
  const std::vector<TensorEntry> entries{{"a", TensorType::F32, {2}}, {"b", TensorType::I64, {2}}};
  {
    TensorFileWriter writer = TensorFileWriter::create(path, entries);
    const std::vector<float> values(3);
    CHECK(holds(refusal([&] { writer.write("a", 0, values); }), "3 elements from 0 on were asked of tensor \"a\""));
    CHECK(holds(refusal([&] { writer.write("a", -1, std::span{values}.first(1)); }), "from -1 on"));
    CHECK(holds(refusal([&] { writer.write("b", 0, std::span{values}.first(2)); }), "type I64"));
    CHECK(holds(refusal([&] { writer.write("c", 0, values); }), "tensor \"c\" was written"));
    writer.write_bytes("b", 8, bytes_of("12345678"));
    CHECK(holds(refusal([&] { writer.write_bytes("b", 9, bytes_of("12345678")); }), "8 bytes from 9 on"));
    CHECK(folder.entries() == 2);
  }
  CHECK(folder.entries() == 1);
  CHECK(bytes_of_file(path) == "before");
}

TEST_CASE("files that were cut are refused at opening") {
  const ScratchFolder folder;
  const std::string whole = bytes_of_file(project_root() / "tests/fuzz/corpus/safetensors/good/all_dtypes.safetensors");
  for (std::size_t size = 0; size < whole.size(); size += 7) {
    write_file(folder / "cut", std::string_view{whole}.substr(0, size));
    CHECK_THROWS_AS(TensorFileReader{folder / "cut"}, moepar::TensorHeaderError);
    CHECK_THROWS_AS(moepar::MappedTensorFile{folder / "cut"}, moepar::TensorHeaderError);
  }
  write_file(folder / "cut", whole);
  CHECK(TensorFileReader{folder / "cut"}.header().tensors.size() == 17);
  const TensorFileReader reader{folder / "cut"};
  std::filesystem::resize_file(folder / "cut", whole.size() - 1);  // after it was checked
  const moepar::TensorInfo& last = reader.header().tensors.back();
  std::vector<std::byte> bytes(size_of(last.bytes()));
  CHECK(holds(refusal([&] { reader.read_bytes(last, 0, bytes); }), "get the whole file again; this one was cut"));
  CHECK(holds(refusal([&] { (void)TensorFileReader{folder.path()}; }), "Is a directory"));
}

}  // namespace
