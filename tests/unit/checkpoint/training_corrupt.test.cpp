// SPDX-License-Identifier: Apache-2.0
// Checkpoints that are not as they were written: every change is found and named, and an older checkpoint is loaded.
#include <doctest/doctest.h>

#include <functional>
#include <moepar/core/random.hpp>
#include <utility>

#include "training_case.hpp"

namespace {

using namespace training_case;

const mp::Layout layout{.world = 4, .expert = 2, .dense_shard = 2, .expert_shard = 2};

//! Loads on two ranks; the texts of rank 0 and the step.
std::pair<Index, std::vector<std::string>> load(const std::string& run, const mp::LoadOptions& options = {}) {
  std::pair<Index, std::vector<std::string>> result;
  on_ranks({.world = 2, .expert = 2}, [&](auto& training) {
    const auto found = mp::load_checkpoint(training.state(), run, options);
    if (training.wrong(found.step) != 0) throw mp::Error{"wrong values. Fix: the loader."};
    if (training.rank.rank() == 0) result = {found.step, found.skipped};
  });
  return result;
}

//! A manifest with a right hash whose other lines are changed.
std::string rehashed(std::string text, const std::string& from, const std::string& to) {
  const std::size_t at = text.find(from);
  REQUIRE(at != std::string::npos);
  text.replace(at, from.size(), to);
  text.resize(text.rfind("\"manifest_xxh3_128\""));
  return text + "\"manifest_xxh3_128\":\"" + mp::text_of(mp::hash128(text)) + "\"}\n";
}

//! Models that are not the one that was saved.
struct Smaller {
  mp::Parameter norm{1, 40};
  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("norm.weight", self.norm);
  }
};
struct Wider : Model {
  mp::Parameter more{3, 4};
  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    Model::members(self, walk);
    walk("more.weight", self.more);
  }
};
struct Turned : Model {
  Turned() { head = mp::Parameter{61, 40}; }
};

}  // namespace

TEST_CASE("XXH3 in 128 bits is that of xxhsum -H2") {
  CHECK(mp::text_of(mp::hash128("")) == "99aa06d3014798d86001c324468d497f");
  const mp::Hash128 hash = mp::hash128("moepar");
  CHECK(mp::hash_of_text(mp::text_of(hash)) == hash);
  CHECK(!mp::hash_of_text("99aa06d3014798d86001c324468d497F"));
  CHECK(!mp::hash_of_text("99"));
  const std::string text(100000, 'x');
  mp::Hasher128 pieces;
  for (std::size_t at = 0; at < text.size(); at += 777)
    pieces.add(std::as_bytes(std::span{text}.subspan(at, std::min<std::size_t>(777, text.size() - at))));
  CHECK(pieces.hash() == mp::hash128(text));
}

TEST_CASE("1000 random flips of one bit: each is found, and what it is in is named") {
  const Folder run;
  save(layout, run.path, 1);
  const std::string folder = mp::step_path(run.path, 1);
  const mp::CheckpointReport good = mp::verify_checkpoint(folder);
  REQUIRE(good.good());
  CHECK(good.parts > tensors);
  std::vector<std::string> names = names_in(folder), files;
  std::vector<Index> begins{0};
  for (const auto& name : names) {
    files.push_back(read_file(folder + '/' + name));
    begins.push_back(begins.back() + static_cast<Index>(files.back().size()));
  }
  constexpr mp::RandomKey key = mp::random_key(1, "flips");
  const auto parts = mp::placed_parts(good.manifest);
  Index in_manifest = 0, in_header = 0, in_tensor = 0;
  for (Index flip = 0; flip < 1000; ++flip) {
    CAPTURE(flip);
    // Half of them anywhere, half in what is small.
    std::size_t file = static_cast<std::size_t>(mp::random_word(key, 0, flip)) % files.size();
    auto at = static_cast<Index>(mp::random_word(key, 1, flip)) % static_cast<Index>(files[file].size());
    if (flip % 2 == 0) {
      const Index byte = static_cast<Index>(mp::random_word(key, 2, flip)) % begins.back();
      file = static_cast<std::size_t>(std::upper_bound(begins.begin(), begins.end(), byte) - begins.begin()) - 1;
      at = byte - begins[file];
    } else if (file > 0 && flip % 4 == 1) {
      at %= good.manifest.files[file - 1].header_bytes;
    }
    std::string changed = files[file];
    char& byte = changed[static_cast<std::size_t>(at)];
    byte = static_cast<char>(byte ^ 1 << mp::random_word(key, 3, flip) % 8);
    write_file(folder + '/' + names[file], changed);
    const mp::CheckpointReport report = mp::verify_checkpoint(folder);
    write_file(folder + '/' + names[file], files[file]);

    REQUIRE(report.faults.size() == 1);
    CAPTURE(report.faults[0]);
    CHECK(has(report.faults[0], folder + '/' + names[file]));
    CHECK(has(report.faults[0], "Fix: "));
    if (file == 0) {
      CHECK(has(report.faults[0], "the manifest "));
      ++in_manifest;
    } else if (at < good.manifest.files[file - 1].header_bytes) {
      CHECK(has(report.faults[0], "the header of "));
      ++in_header;
    } else {
      const auto part = std::find_if(parts.begin(), parts.end(), [&](const mp::PlacedPart& each) {
        return each.part->file == static_cast<Index>(file) - 1 && each.part->begin <= at &&
               at < each.part->begin + each.bytes();
      });
      REQUIRE(part != parts.end());
      CHECK(has(report.faults[0], "the tensor " + mp::text_of(*part->tensor) + " is corrupt: bytes " +
                                      std::to_string(part->part->begin) + " to "));
      CHECK(has(report.faults[0], mp::text_of(part->part->hash)));
      CHECK(has(report.text(), "CORRUPT  " + mp::text_of(*part->tensor) + '\n'));
      ++in_tensor;
    }
  }
  CHECK(in_manifest > 50);
  CHECK(in_header > 50);
  CHECK(in_tensor > 500);
  CHECK(mp::verify_checkpoint(folder).good());
  CHECK(has(good.text(), "ok       head.weight (first_moment)\n"));
}

TEST_CASE("ranks that load share the check of all parts: a flip in any part is found by one of them") {
  const Folder run;
  save(layout, run.path, 1);
  const std::string folder = mp::step_path(run.path, 1);
  const mp::Manifest manifest = mp::read_manifest(folder);
  on_ranks({.world = 3}, [&](auto& training) {
    training.set(77);
    for (const mp::PlacedPart& part : mp::placed_parts(manifest)) {
      const std::string path = folder + '/' + manifest.files[static_cast<std::size_t>(part.part->file)].name;
      const auto flip = [&] {
        auto& world = training.rank.axes().world;
        world.barrier();
        if (training.rank.rank() == 0) {
          std::string bytes = read_file(path);
          char& byte = bytes[static_cast<std::size_t>(part.part->begin + part.bytes() - 1)];
          byte = static_cast<char>(byte ^ 1);
          write_file(path, bytes);
        }
        world.barrier();
      };
      flip();
      const std::string error = error_of([&] { mp::load_checkpoint(training.state(), run.path, {.step = 1}); });
      CHECK(has(error, "the tensor " + mp::text_of(*part.tensor) + " is corrupt"));
      flip();
    }
    CHECK(training.wrong(77) == 0);
    mp::load_checkpoint(training.state(), run.path);
    CHECK(training.wrong(1) == 0);
  });
}

TEST_CASE("a load passes over what is not good, and says why") {
  const Folder run;
  for (Index step = 1; step <= 9; ++step) save(layout, run.path, step, {.keep = 9});
  const auto folder = [&](Index step) { return mp::step_path(run.path, step); };
  const auto flip = [](const std::string& path, std::size_t at) {
    std::string bytes = read_file(path);
    bytes.at(at) = static_cast<char>(bytes.at(at) ^ 4);
    write_file(path, bytes);
  };
  flip(folder(9) + "/rank-00002.safetensors", 20000);
  flip(folder(8) + "/rank-00001.safetensors", 3);
  flip(folder(7) + "/manifest.json", 100);
  std::filesystem::remove(folder(6) + "/rank-00003.safetensors");
  std::filesystem::resize_file(folder(5) + "/rank-00000.safetensors", 70000);
  std::filesystem::remove(folder(4) + "/manifest.json");
  std::filesystem::rename(folder(1), folder(3) + ".other");
  std::filesystem::remove_all(folder(3));
  std::filesystem::rename(folder(3) + ".other", folder(3));
  std::filesystem::create_directory(folder(12) + ".partial");
  write_file(folder(2) + "/surplus", "x");

  const auto [step, skipped] = load(run.path);
  CHECK(step == 2);
  const std::vector<std::vector<std::string>> expected{
      {"step-00000012.partial is passed over: it is unfinished"},
      {"step-00000009 is passed over", "the tensor ", "rank-00002.safetensors", "the manifest says "},
      {"step-00000008 is passed over", "the header of ", "rank-00001.safetensors"},
      {"step-00000007 is passed over", "the manifest ", "is corrupt"},
      {"step-00000006 is passed over", "rank-00003.safetensors", "No such file"},
      {"step-00000005 is passed over", "rank-00000.safetensors has 70000 bytes, the manifest says "},
      {"step-00000004 is passed over", "manifest.json", "No such file"},
      {"step-00000003 is passed over", "holds a checkpoint of step 1"}};
  REQUIRE(skipped.size() == expected.size());
  for (std::size_t i = 0; i < expected.size(); ++i)
    for (const auto& part : expected[i]) {
      CAPTURE(skipped[i]);
      CHECK(has(skipped[i], part));
    }
  CHECK(mp::verify_checkpoint(folder(2)).good());
  CHECK(mp::verify_checkpoint(folder(2)).surplus == std::vector<std::string>{"surplus"});
  CHECK(!mp::verify_checkpoint(folder(5)).good());
  CHECK(!mp::verify_checkpoint(folder(6)).good());
  CHECK(!mp::verify_checkpoint(folder(4)).good());

  // One that was asked for is loaded or refused.
  CHECK(load(run.path, {.step = 2}).first == 2);
  CHECK(has(error_of([&] { load(run.path, {.step = 9}); }), "is corrupt"));
  CHECK(has(error_of([&] { load(run.path, {.step = 100}); }), "step-00000100/manifest.json"));
  std::filesystem::remove_all(folder(2));
  CHECK(has(error_of([&] { load(run.path); }), "has no good checkpoint; "));
  CHECK(has(error_of([&] { load(run.path + "/none"); }), "rank 0: moepar: the folder '"));
}

TEST_CASE("a checkpoint of another model, or of other bits, is refused and named") {
  const Folder run;
  save(layout, run.path, 1);
  const auto error = [&]<class Other>(Other) {
    std::string text;
    on_ranks<Other>({.world = 2}, [&](auto& training) {
      training.set(77);
      const std::string own = error_of([&] { mp::load_checkpoint(training.state(), run.path); });
      CHECK(training.wrong(77) == 0);
      if (training.rank.rank() == 0) text = own;
    });
    return text;
  };
  CHECK(has(error(Smaller{}), "it has a embed.weight (weight) too many"));
  CHECK(has(error(Wider{}), "it has no more.weight (weight)"));
  CHECK(has(error(Turned{}), "head.weight (weight) is 40 x 61, the model has 61 x 40"));

  const std::string path = mp::step_path(run.path, 1) + "/manifest.json";
  const std::string bits = "\"bits_version\":" + std::to_string(mp::bits_version);
  write_file(path, rehashed(read_file(path), bits, "\"bits_version\":99"));
  CHECK(has(error_of([&] { load(run.path); }), "has bits_version 99, this program"));
  CHECK(load(run.path, {.other_bits = true}).first == 1);
}

TEST_CASE("hostile manifests are refused in words, never followed") {
  const Folder run;
  save({.world = 2, .dense_shard = 2}, run.path, 1, {}, {{"seed", "12"}});
  const std::string text = read_file(mp::step_path(run.path, 1) + "/manifest.json");
  const mp::Manifest manifest = mp::manifest_of_text(text, "it");
  CHECK(mp::manifest_text(manifest) == text);

  const auto refused = [&](const std::string& changed, std::string_view why) {
    const std::string error = error_of([&] { (void)mp::manifest_of_text(changed, "it"); });
    CAPTURE(error);
    CHECK(has(error, why));
    CHECK(has(error, "moepar: the manifest it "));
    CHECK(has(error, "Fix: "));
  };
  const auto changed = [&](const std::string& from, const std::string& to) { return rehashed(text, from, to); };
  refused("", "is too short");
  refused(text.substr(1), "is corrupt");
  refused(text + " ", "has no");
  refused(std::string(300, '['), "has no '\"manifest_xxh3_128");
  refused(changed("\"version\":1", "\"version\":2"), "has version 2, this program reads version 1");
  refused(changed("\"version\":1", "\"version\":01"), "is not in the form");
  refused(changed("moepar-training", "other"), "has no '{\"format\"");
  refused(changed("\"step\":1", "\"step\":-1"), "has -1 after");
  refused(changed("\"step\":1", "\"step\":99999999999999999999"), "has no number that fits");
  refused(changed("\"world\":2", "\"world\":16777217"), "has 16777217 after");
  refused(changed("\"world\":2", "\"world\":16777216"), "has no ");
  refused(changed("\"world\":2", "\"world\":1"), "has ");
  refused(changed("\"beta2_power\":0.", "\"beta2_power\":7."), "not from 0 to 1");
  refused(changed("\"beta2_power\":0.", "\"beta2_power\":nan0."), "");
  refused(changed("\"12\"", "\"12"), "has no");
  refused(changed("\"12\"", "\"\\x\""), "has an escape");
  refused(changed("\"12\"", "\"\\u0031\""), "is not in the form");
  refused(changed("rank-00001.safetensors", "../../../etc/passwd"), "has no '{\"name\":\"rank-00001");
  refused(changed("\"kind\":\"weight\"", "\"kind\":\"sum\""), "has a kind of tensor");
  refused(changed("\"shape\":[61,", "\"shape\":[4294967296,"), "has 4294967296 after");
  refused(changed("\"shape\":[61,", "\"shape\":[62,"), "has no ");
  refused(changed("\"shape\":[61,", "\"shape\":[60,"), "has ");

  // Each of these keeps the form and says something that cannot be.
  const auto edited = [&](const std::function<void(mp::Manifest&)>& edit, std::string_view why) {
    mp::Manifest other = manifest;
    edit(other);
    refused(mp::manifest_text(other), why);
  };
  edited([](auto& m) { m.tensors[0].parts[1].first += 1024; }, "after ',\"first\":'");
  edited([](auto& m) { m.tensors[0].parts[0].count -= 1; }, "after ',\"first\":'");
  edited([](auto& m) { m.tensors[0].parts.pop_back(); }, "has no ',");
  edited([](auto& m) { m.tensors[0].parts[0].file = 2; }, "has 2 after '{\"file\":'");
  edited([](auto& m) { m.tensors[0].parts[0].begin = 0; }, "after ',\"begin\":'");
  edited([](auto& m) { m.tensors[0].parts[0].begin += 4; }, "leave a gap or overlap in rank-00000");
  edited([](auto& m) { m.tensors[0].parts[0].begin = m.files[0].bytes; }, "a part that is longer than its file");
  edited([](auto& m) { std::swap(m.tensors[0].parts[0].begin, m.tensors[2].parts[1].begin); }, "");
  edited([](auto& m) { m.files[1].bytes += 8; }, "too few parts for the bytes of rank-00001");
  edited([](auto& m) { m.files[1].header_bytes = 7; }, "after ',\"header_bytes\":'");
  edited([](auto& m) { m.files.pop_back(); }, "has no");
  edited([](auto& m) { m.tensors.push_back(m.tensors[0]); }, "has the tensor embed.weight twice");
  edited([](auto& m) { m.tensors.pop_back(); }, "leave a gap or overlap in rank-00000");
  edited([](auto& m) { m.layout.expert = 3; }, "has 3 after");

  // Any change, with a hash that is right: refused, or it says something else in the one form there is.
  constexpr mp::RandomKey key = mp::random_key(2, "changes");
  constexpr std::string_view characters = "0123456789-.e\"\\{}[],:\n\xff xu";
  Index taken = 0;
  for (Index change = 0; change < 3000; ++change) {
    std::string body = text.substr(0, text.rfind("\"manifest_xxh3_128\""));
    const auto word = [&](Index step) { return static_cast<std::size_t>(mp::random_word(key, step, change)); };
    const std::size_t at = word(0) % body.size();
    if (change % 3 == 0)
      body.erase(at, 1 + word(1) % 40);
    else if (change % 3 == 1)
      body.insert(at, body.substr(word(1) % body.size(), word(2) % 200));
    else
      body[at] = characters[word(1) % characters.size()];
    const std::string other = body + "\"manifest_xxh3_128\":\"" + mp::text_of(mp::hash128(body)) + "\"}\n";
    const std::string error = error_of([&] {
      if (mp::manifest_text(mp::manifest_of_text(other, "it")) != other) throw mp::Error{"another form"};
      ++taken;
    });
    CHECK(!has(error, "another form"));
  }
  CHECK(taken < 3000);

  const std::string large = run.path + "/large";
  std::filesystem::create_directory(large);
  write_file(large + "/manifest.json", "");
  std::filesystem::resize_file(large + "/manifest.json", std::uintmax_t{1} << 40);  // holes only
  CHECK(has(mp::verify_checkpoint(large).text(), "has 1099511627776 bytes, more than the limit of 2147483648"));

  // Cut anywhere, with a hash that is right.
  for (std::size_t length = 0; length < text.size(); length += 97) {
    const std::string cut = text.substr(0, length);
    refused(cut + "\"manifest_xxh3_128\":\"" + mp::text_of(mp::hash128(cut)) + "\"}\n", "");
  }
}
