// SPDX-License-Identifier: Apache-2.0
#include <moepar/data/token_file.hpp>

#include <doctest/doctest.h>

#include "data_test.hpp"

#include <cstdint>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/data/token_file_writer.hpp>

namespace {

using data_test::Folder;
using data_test::holds;
using data_test::refusal;
using moepar::Index;
using moepar::TokenFile;
using moepar::TokenFileWriter;
using Tokens = std::vector<std::int32_t>;

std::string bytes_of(const std::string& path) {
  std::ostringstream bytes;
  bytes << std::ifstream{path, std::ios::binary}.rdbuf();
  return bytes.str();
}

void put(const std::string& path, std::string_view bytes) { std::ofstream{path, std::ios::binary} << bytes; }

void write(const std::string& path, Index vocabulary, const std::vector<Tokens>& blocks) {
  TokenFileWriter writer{path, static_cast<Index>(blocks.at(0).size()), vocabulary};
  for (const Tokens& block : blocks) writer.write(block);
  writer.finish();
}

// A file whose hash is right, whatever the rest says.
std::string sealed(std::string bytes) {
  const std::string_view view{bytes};
  const std::uint64_t hash = moepar::fnv1a(view.substr(0, 56), moepar::fnv1a(view.substr(64)));
  for (std::size_t i = 0; i < 8; ++i) bytes[56 + i] = static_cast<char>(hash >> (8 * i));
  return bytes;
}

TEST_CASE("blocks come back, in two or four bytes a token") {
  const Folder folder;
  for (const Index vocabulary : {Index{1}, Index{32000}, Index{65536}, Index{65537}, Index{1} << 31}) {
    const auto last = static_cast<std::int32_t>(vocabulary - 1);
    const std::vector<Tokens> blocks{{0, last, 0}, {last, last, last}, {0, 0, last / 2}};
    write(folder / "t", vocabulary, blocks);
    const TokenFile file{folder / "t"};
    CHECK(file.size() == 3);
    CHECK(file.length() == 3);
    CHECK(file.vocabulary() == vocabulary);
    for (const Index block : {2, 0, 1}) CHECK(file.block(block) == blocks[static_cast<std::size_t>(block)]);
    CHECK(bytes_of(folder / "t").size() == 64 + 9U * (vocabulary <= 65536 ? 2 : 4));
  }
}

TEST_CASE("the bytes of a file are fixed") {
  const Folder folder;
  write(folder / "t", 300, {{1, 258}});
  const std::string bytes = bytes_of(folder / "t");
  CHECK(bytes.substr(0, 16) == std::string_view{"moepar tokens\0\0\0", 16});
  CHECK(bytes.substr(16, 8) == std::string_view{"\1\0\0\0\2\0\0\0", 8});
  CHECK(bytes.substr(24, 16) == std::string_view{"\2\0\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 16});
  CHECK(bytes.substr(40, 16) == std::string_view{"\x2c\1\0\0\0\0\0\0\1\0\0\0\0\0\0\0", 16});
  CHECK(bytes.substr(64) == std::string_view{"\1\0\2\1", 4});
  CHECK(sealed(bytes) == bytes);
}

TEST_CASE("every changed byte, every cut and every addition is found") {
  const Folder folder;
  write(folder / "t", 300, {{1, 258, 7}, {0, 299, 3}});
  const std::string bytes = bytes_of(folder / "t");
  TokenFile{folder / "t"};
  for (std::size_t at = 0; at < bytes.size(); ++at)
    for (const int change : {0x01, 0x80, 0xff}) {
      std::string changed = bytes;
      changed[at] = static_cast<char>(changed[at] ^ change);
      put(folder / "c", changed);
      CHECK_MESSAGE(!refusal([&] { TokenFile{folder / "c"}; }).empty(), at);
    }
  for (std::size_t size = 0; size < bytes.size(); ++size) {
    put(folder / "c", bytes.substr(0, size));
    CHECK_MESSAGE(holds(refusal([&] { TokenFile{folder / "c"}; }), "/c'"), size);
  }
  put(folder / "c", bytes + '\0');
  CHECK(holds(refusal([&] { TokenFile{folder / "c"}; }), "announces 76 bytes and it has 77"));
}

TEST_CASE("sizes are not trusted even where the hash is right") {
  const Folder folder;
  write(folder / "t", 300, {{1, 258, 7}, {0, 299, 3}});
  const std::string bytes = bytes_of(folder / "t");
  const auto with = [&](std::size_t at, std::string_view replacement) {
    std::string changed = bytes;
    changed.replace(at, replacement.size(), replacement);
    put(folder / "c", sealed(changed));
    return refusal([&] { (void)TokenFile{folder / "c"}.block(0); });
  };
  CHECK(with(0, "m").empty());
  CHECK(holds(with(0, "M"), "does not start with"));
  CHECK(holds(with(16, "\2"), "its version is 2"));
  CHECK(holds(with(20, "\4"), "4 bytes a token for a vocabulary of 300"));
  CHECK(holds(with(24, std::string_view{"\0", 1}), "a block of 0 tokens"));
  CHECK(holds(with(24, "\xff\xff\xff\xff\xff\xff\xff\xff"), "a block of 18446744073709551615 tokens"));
  CHECK(holds(with(32, "\xff\xff\xff\xff\xff\xff\xff\xff"), "18446744073709551615 blocks of 3"));
  CHECK(holds(with(32, std::string_view{"\0\0\0\0\0\0\0\x01", 8}), "announces"));
  CHECK(holds(with(40, std::string_view{"\0\0", 2}), "a vocabulary of 0"));
  CHECK(holds(with(48, "\3"), "its flags are 3"));
  CHECK(holds(with(64, "\x2c\1"), "token 300 at place 0 of block 0 is outside the vocabulary 0..299"));
}

TEST_CASE("a file appears whole or not at all") {
  const Folder folder;
  put(folder / "t", "before");
  {
    TokenFileWriter writer{folder / "t", 2, 10};
    writer.write(Tokens{1, 2});
    CHECK(std::filesystem::exists(folder / "t.partial"));
    CHECK(holds(refusal([&] { writer.write(Tokens{1}); }), "block 1: a block of 1 tokens came, all have 2"));
    CHECK(holds(refusal([&] { writer.write(Tokens{1, 10}); }), "token 10 at place 1 is outside the vocabulary 0..9"));
    CHECK(holds(refusal([&] { writer.write(Tokens{-1, 1}); }), "token -1 at place 0"));
  }
  CHECK(!std::filesystem::exists(folder / "t.partial"));
  CHECK(bytes_of(folder / "t") == "before");
  write(folder / "t", 10, {{1, 2}});
  CHECK(!std::filesystem::exists(folder / "t.partial"));
  CHECK(TokenFile{folder / "t"}.block(0) == Tokens{1, 2});
  CHECK(holds(refusal([&] { TokenFileWriter{folder / "absent/t", 2, 10}; }), "No such file"));
  CHECK(holds(refusal([&] { TokenFileWriter{"/dev/null", 2, 10}; }), "no plain file"));
  CHECK(holds(refusal([&] { TokenFileWriter{folder.path.string(), 2, 10}; }), "no plain file"));
  CHECK(holds(refusal([&] { TokenFileWriter{folder / "u", 0, 10}; }), "blocks of 0 tokens"));
  CHECK(!std::filesystem::exists(folder / "u.partial"));
}

TEST_CASE("blocks and files that are not there are refused") {
  const Folder folder;
  write(folder / "t", 10, {{1, 2}});
  const TokenFile file{folder / "t"};
  CHECK(holds(refusal([&] { (void)file.block(1); }), "block 1 of 1 was asked for"));
  CHECK(holds(refusal([&] { (void)file.block(-1); }), "block -1 of 1"));
  Tokens three(3);
  CHECK(holds(refusal([&] { file.read(0, three); }), "room for 3 of 2 tokens"));
  CHECK(holds(refusal([&] { TokenFile{folder / "absent"}; }), "absent': No such file"));
  CHECK(!refusal([&] { TokenFile{folder.path.string()}; }).empty());
  // Cut behind our back: an Error, not a fault.
  std::filesystem::resize_file(folder / "t", 65);
  CHECK(holds(refusal([&] { (void)file.block(0); }), "became shorter"));
}

TEST_CASE("threads share a file") {
  const Folder folder;
  std::vector<Tokens> blocks;
  for (std::int32_t block = 0; block < 64; ++block) blocks.push_back(Tokens(512, block));
  write(folder / "t", 64, blocks);
  const TokenFile file{folder / "t"};
  std::vector<int> wrong(8);
  std::vector<std::thread> threads;
  for (std::size_t which = 0; which < wrong.size(); ++which)
    threads.emplace_back([&, which] {
      for (std::size_t i = 0; i < 4096; ++i) {
        const std::size_t block = (i * 7 + which) % blocks.size();
        wrong[which] += file.block(static_cast<Index>(block)) == blocks[block] ? 0 : 1;
      }
    });
  for (std::thread& thread : threads) thread.join();
  CHECK(wrong == std::vector<int>(8));
}

}  // namespace
