// SPDX-License-Identifier: Apache-2.0
// Mixtral's tokenizer against what Mistral's, Hugging Face's and JavaScript programs give, and SST-2 against the counts
// of run_clm.py's rule. The data is not part of the project: its folder is MOEPAR_SHARED, or `shared` beside the
// project; without it nothing is tested and the exit code is 77.
#define DOCTEST_CONFIG_IMPLEMENT
#include <doctest/doctest.h>

#include "data_test.hpp"

#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <random>
#include <source_location>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/data/group_texts.hpp>
#include <moepar/data/sentencepiece_tokenizer.hpp>
#include <moepar/data/split.hpp>
#include <moepar/data/text_rows.hpp>
#include <nlohmann/json.hpp>

namespace {

using data_test::holds;
using data_test::refusal;
using moepar::Index;
using moepar::SentencePieceTokenizer;
using moepar::TextFormat;
using moepar::TextRows;
using Tokens = std::vector<std::int32_t>;

std::filesystem::path data_folder() {
  if (const char* shared = std::getenv("MOEPAR_SHARED")) return std::filesystem::path{shared} / "data";
#ifdef MOEPAR_ROOT
  const std::filesystem::path root{MOEPAR_ROOT};
#else
  const std::filesystem::path file{std::source_location::current().file_name()};
  const std::filesystem::path root =
      std::filesystem::absolute(file).parent_path().parent_path().parent_path().parent_path();
#endif
  return root.parent_path() / "shared" / "data";
}

std::string model_path() { return (data_folder() / "tokenizer" / "tokenizer.model.v1").string(); }

const SentencePieceTokenizer& tokenizer() {
  static const SentencePieceTokenizer one{model_path()};
  return one;
}

TEST_CASE("the vocabulary of Mixtral") {
  CHECK(tokenizer().vocabulary() == 32000);
  CHECK(tokenizer().bos() == 1);
  CHECK(tokenizer().eos() == 2);
}

TEST_CASE("quoted texts have the quoted tokens") {
  const auto is = [](std::string_view text, const Tokens& tokens) {
    CHECK(tokenizer().encode(text) == tokens);
    CHECK(tokenizer().decode(tokens) == text);
  };
  is("Hello world", {1, 22557, 1526});
  is("grabbed", {1, 13300});
  is(" grabbed", {1, 28705, 13300});
  is("           grabbed", {1, 17422, 13300});
  is("\n", {1, 28705, 13});
  is(" \n", {1, 259, 13});
  is("\ttabs\t\t\t\tout here", {1, 28705, 12, 24856, 12, 12, 12, 12, 406, 1236});
  is("ax\n####\nboo", {1, 6056, 13, 2000, 13, 1798, 28709});
  is("镇", {1, 28705, 29780});
  is("🦙", {1, 28705, 243, 162, 169, 156});
  is("Ꙋ🦙", {1, 28705, 237, 156, 141, 243, 162, 169, 156});
  is("", {1});
  is("</s>", {1, 1867, 28713, 28767});  // Hugging Face makes token 2 of it
  CHECK(tokenizer().decode(Tokens{1, 733, 16289, 28793, 17121, 22526, 13, 13, 28708, 733, 28748, 16289, 28793}) ==
        "[INST] SYSTEM\n\na [/INST]");
  CHECK(tokenizer().decode(Tokens{}) == "");
  CHECK(tokenizer().decode(Tokens{1, 22557, 2}) == "Hello");
  // U+FFFD for a byte that is not UTF-8; a NUL is a character.
  CHECK(tokenizer().encode("a\xff") == tokenizer().encode("a\xef\xbf\xbd"));
  CHECK(tokenizer().decode(tokenizer().encode({"a\0b", 3})) == std::string{"a\0b", 3});
}

TEST_CASE("every text of cases.json") {
  std::ifstream stream{data_folder() / "tokenizer" / "cases.json"};
  std::size_t texts = 0, conversations = 0;
  for (const nlohmann::json& each : nlohmann::json::parse(stream)) {
    if (each.contains("parts")) {  // a conversation: its parts one by one, a null is the token that ends a text
      Tokens tokens{tokenizer().bos()};
      for (const nlohmann::json& part : each["parts"]) {
        const Tokens more = part.is_null() ? Tokens{0, tokenizer().eos()} : tokenizer().encode(part.get<std::string>());
        tokens.insert(tokens.end(), more.begin() + 1, more.end());
      }
      CHECK(tokens == each["ids"].get<Tokens>());
      ++conversations;
      continue;
    }
    const auto text = each["text"].get<std::string>();
    const auto tokens = each["ids"].get<Tokens>();
    if (text == "decode only") {
      CHECK(tokenizer().decode(tokens) == each["decoded"].get<std::string>());
    } else {
      CHECK_MESSAGE(tokenizer().encode(text) == tokens, text);
      CHECK_MESSAGE(tokenizer().decode(tokens) == text, text);
    }
    ++texts;
  }
  CHECK(texts >= 42);
  CHECK(conversations >= 1);
}

TEST_CASE("tokens outside the vocabulary and files that are no model are refused") {
  CHECK(holds(refusal([] { (void)tokenizer().decode(Tokens{1, 32000}); }), "token 32000 at place 1"));
  CHECK(holds(refusal([] { (void)tokenizer().decode(Tokens{-1}); }), "token -1 at place 0"));
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / ("moepar_tokenizer_test_" + std::to_string(std::random_device{}()));
  std::filesystem::create_directories(folder);
  const std::string path = (folder / "tokenizer.model").string();
  const auto with = [&](std::string_view bytes) {
    std::ofstream{path, std::ios::binary} << bytes;
    return refusal([&] { SentencePieceTokenizer{path}; });
  };
  CHECK(holds(refusal([&] { SentencePieceTokenizer{path}; }), "No such file"));
  CHECK(holds(refusal([&] { SentencePieceTokenizer{folder.string()}; }), "Is a directory"));
  CHECK(holds(with(""), "it is empty"));
  CHECK(holds(with("{\"version\": \"1.0\"}"), "is no SentencePiece model"));
  const std::string model = moepar::read_text(model_path());
  CHECK(with(model).empty());
  CHECK(holds(with(model.substr(0, model.size() / 2)), "is no SentencePiece model"));
  CHECK(holds(with(model.substr(0, model.size() - 1)), "is no SentencePiece model"));
  CHECK(holds(with(model + "x"), "is no SentencePiece model"));
  std::filesystem::remove_all(folder);
}

struct Expected {
  const char *file, *split;
  Index batch, rows, ids, blocks, dropped;
  std::uint64_t hash;  //!< FNV-1a over the tokens of the blocks, 4 little-endian bytes each
};

TEST_CASE("SST-2 gives the blocks of run_clm.py's rule, by the batch and by the stream") {
  // Counts for dev and test: quoted. The others and the hashes: a Python program over the sentencepiece package.
  for (const Expected& expected : {
           Expected{"dev", "dev", 1000, 872, 23494, 11, 966, 0x6e981708d360ca58},
           Expected{"dev", "dev", 0, 872, 23494, 11, 966, 0x6e981708d360ca58},
           Expected{"test", "test", 1000, 1821, 46739, 22, 1683, 0x2a953ef75a7c9842},
           Expected{"test", "test", 0, 1821, 46739, 22, 1683, 0xb75929f237d5cd47},
           Expected{"train", "train", 1000, 67349, 958792, 429, 80200, 0xc68c497f6d5e9a29},
           Expected{"train", "train", 0, 67349, 958792, 468, 328, 0xfa23bf1c7678151e},
           Expected{"train", "train[:10%]", 1000, 6735, 95614, 42, 9598, 0xb96e94a234549c2a},
           Expected{"train", "train[:10%]", 0, 6735, 95614, 46, 1406, 0x783a6c865995028e},
           Expected{"train", "train[10%:]", 1000, 60614, 863178, 393, 58314, 0xcb2e22caa1c55da6},
           Expected{"train", "train[10%:]", 0, 60614, 863178, 421, 970, 0xd22323f768b6f685},
       }) {
    INFO(expected.split);
    INFO(expected.batch);
    const std::string path = (data_folder() / "sst2" / (expected.file + std::string{".tsv"})).string();
    Index count = 0;
    for (TextRows rows{path, {.format = TextFormat::tsv}}; rows.next();) ++count;
    const moepar::RowRange range = moepar::Split{expected.split}.of(count);
    moepar::GroupTexts group{{.block = 2048, .batch = expected.batch}};
    std::uint64_t hash = moepar::fnv1a("");
    TextRows rows{path, {.format = TextFormat::tsv}};
    for (Index row = 0; const auto text = rows.next(); ++row)
      if (range.contains(row))
        group.add(tokenizer().encode(*text), [&](std::span<const std::int32_t> block) {
          CHECK(block.size() == 2048);
          for (const std::int32_t token : block)
            for (int byte = 0; byte < 4; ++byte) {
              const auto value = static_cast<char>(static_cast<unsigned char>(token >> (8 * byte)));
              hash = moepar::fnv1a({&value, 1}, hash);
            }
        });
    group.finish();
    CHECK(group.rows() == expected.rows);
    CHECK(group.ids() == expected.ids);
    CHECK(group.blocks() == expected.blocks);
    CHECK(group.dropped() == expected.dropped);
    CHECK(hash == expected.hash);
  }
}

TEST_CASE("texts with rare characters come back through the bytes") {
  Index ids = 0, bytes = 0;
  TextRows rows{(data_folder() / "text" / "wikitext-2" / "valid.txt").string()};
  while (const auto row = rows.next()) {
    const Tokens tokens = tokenizer().encode(*row);
    CHECK(tokenizer().decode(tokens) == *row);
    ids += static_cast<Index>(tokens.size());
    bytes += std::ranges::count_if(tokens, [](std::int32_t token) { return token >= 3 && token <= 258; });
  }
  CHECK(rows.rows() == 3760);
  CHECK(ids == 293676);
  CHECK(bytes == 3);
}

}  // namespace

int main(int argc, char** argv) {
  if (!std::filesystem::exists(model_path())) {
    std::printf("skipped: there is no %s\n", model_path().c_str());
    return 77;  // what Meson takes for a skipped test
  }
  return doctest::Context{argc, argv}.run();
}
