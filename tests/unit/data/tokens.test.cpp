// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "data_test.hpp"

#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <string>
#include <string_view>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/data/byte_tokenizer.hpp>
#include <moepar/data/character_tokenizer.hpp>
#include <moepar/data/text_file.hpp>
#include <moepar/data/unigram.hpp>

namespace {

using data_test::holds;
using data_test::refusal;
using Tokens = std::vector<std::int32_t>;

TEST_CASE("every byte goes through the byte tokenizer and back") {
  std::string all;
  for (int byte = 0; byte < 256; ++byte) all.push_back(static_cast<char>(byte));
  const moepar::ByteTokenizer tokenizer;
  const Tokens tokens = tokenizer.encode(all);
  for (std::size_t i = 0; i < tokens.size(); ++i) CHECK(tokens[i] == static_cast<std::int32_t>(i));
  CHECK(tokenizer.decode(tokens) == all);
  CHECK(tokenizer.encode("").empty());
  CHECK(holds(refusal([&] { (void)tokenizer.decode(Tokens{65, 256}); }), "token 256 at place 1"));
  CHECK(holds(refusal([&] { (void)tokenizer.decode(Tokens{-1}); }), "token -1 at place 0"));
}

TEST_CASE("the character tokenizer numbers the bytes of its text in ascending order") {
  const moepar::CharacterTokenizer tokenizer{"hello\n\xff"};
  CHECK(tokenizer.characters() == "\nehlo\xff");
  CHECK(tokenizer.vocabulary() == 6);
  CHECK(tokenizer.encode("hello") == Tokens{2, 1, 3, 3, 4});
  CHECK(tokenizer.decode(tokenizer.encode("hello\n\xff")) == "hello\n\xff");
  CHECK(holds(refusal([&] { (void)tokenizer.encode("heal"); }), "byte 'a' at place 2"));
  CHECK(holds(refusal([&] { (void)tokenizer.encode("e\t"); }), "byte 0x09 at place 1"));
  CHECK(holds(refusal([&] { (void)tokenizer.decode(Tokens{6}); }), "the tokens are 0..5"));
  CHECK(holds(refusal([&] { moepar::CharacterTokenizer{""}; }), "empty text"));
}

TEST_CASE("a file is read whole or refused with its reason") {
  const std::filesystem::path folder = std::filesystem::temp_directory_path() / "moepar_text_file_test";
  std::filesystem::create_directories(folder);
  const std::string path = (folder / "text").string(), absent = (folder / "absent").string();
  const std::string text = std::string(3'000'000, 'x') + '\0' + "end\r\n";
  std::ofstream{path, std::ios::binary} << text;
  CHECK(moepar::read_text(path) == text);
  CHECK(moepar::read_text(path, static_cast<moepar::Index>(text.size())) == text);
  CHECK(holds(refusal([&] { (void)moepar::read_text(path, static_cast<moepar::Index>(text.size()) - 1); }),
              "longer than the limit of 3000005 bytes"));
  CHECK(holds(refusal([&] { (void)moepar::read_text(absent); }), absent + "': No such file"));
  CHECK(holds(refusal([&] { (void)moepar::read_text(folder.string()); }), "Is a directory"));
  std::ofstream{path, std::ios::trunc};
  CHECK(holds(refusal([&] { (void)moepar::read_text(path); }), "it is empty"));
  std::filesystem::remove_all(folder);
}

TEST_CASE("unigram entropies in nats") {
  CHECK(moepar::unigram_entropy(Tokens{3, 3, 3}, 4) == 0.0);
  CHECK(moepar::unigram_entropy(Tokens{0, 1, 2, 3}, 4) == doctest::Approx(std::log(4.0)).epsilon(1e-14));
  const double expected = -(0.75 * std::log(0.75) + 0.25 * std::log(0.25));
  CHECK(moepar::unigram_entropy(Tokens{5, 5, 0, 5}, 6) == doctest::Approx(expected).epsilon(1e-14));
  // Counts 2, 1, 0 plus one each, of 3 + 3; the evaluation has tokens 0 and 2.
  const double crossed = -(std::log(3.0 / 6) + std::log(1.0 / 6)) / 2;
  CHECK(moepar::unigram_cross_entropy(Tokens{0, 1, 0}, Tokens{0, 2}, 3) == doctest::Approx(crossed).epsilon(1e-14));
  CHECK(holds(refusal([] { (void)moepar::unigram_entropy(Tokens{}, 4); }), "0 tokens"));
  CHECK(holds(refusal([] { (void)moepar::unigram_entropy(Tokens{1, 4}, 4); }), "token 4 at place 1"));
}

}  // namespace
