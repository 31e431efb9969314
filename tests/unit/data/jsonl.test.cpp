// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include "data_test.hpp"

#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/data/jsonl_text.hpp>
#include <moepar/data/jsonl_writer.hpp>
#include <moepar/data/token_row_reader.hpp>
#include <moepar/data/token_sequences.hpp>

namespace {

using data_test::holds;
using moepar::Index;
using moepar::JsonlText;
using moepar::TokenRow;
using moepar::TokenSequences;
using Tokens = std::vector<std::int32_t>;

struct Folder : data_test::Folder {
  std::string file(std::string_view content) const { return data_test::Folder::file(content, "rows.jsonl"); }
};

template <class Call> std::string refusal(const Call& call) {
  const std::string sentence = data_test::refusal(call);
  CHECK(sentence.size() < 600);  // however long the line is
  return sentence;
}

TokenRow row_of(std::string_view line, Index vocabulary = 100) {
  return moepar::read_token_row(line, vocabulary, "f:1");
}

std::string no_row(std::string_view line) {
  const std::string sentence = refusal([&] { row_of(line); });
  CHECK_MESSAGE(sentence.starts_with("f:1: "), line.substr(0, 80));
  return sentence;
}

std::string repeated(std::string_view text, std::size_t times) {
  std::string all;
  for (; times > 0; --times) all += text;
  return all;
}

TEST_CASE("a line of training data, and what stands in for what it lacks") {
  const TokenRow row = row_of(R"( {"labels":[-100, 6,99],"input_ids":[5,6,0], "attention_mask":[1,1,0]} )");
  CHECK(row.ids == Tokens{5, 6, 0});
  CHECK(row.mask == Tokens{1, 1, 0});
  CHECK(row.labels == Tokens{-100, 6, 99});
  const TokenRow bare = row_of(R"({"input_ids":[5,6]})");
  CHECK(bare.mask == Tokens{1, 1});
  CHECK(bare.labels == Tokens{5, 6});
  CHECK(row_of(R"({"input_ids":[]})").ids.empty());
  // Other fields, of any type, and escapes in a key.
  CHECK(row_of(R"({"a":{"b":[{}]},"input_\u0069ds":[1],"c":[[],[1e9,"\u00e9"]],"d":null,"e":"input_ids"})").ids ==
        Tokens{1});
  CHECK(row_of(R"({"meta":{"input_ids":["x"]},"input_ids":[1]})").ids == Tokens{1});
  CHECK(row_of(R"({"input_ids":[2147483647]})", Index{1} << 31).ids == Tokens{2147483647});
}

TEST_CASE("what is no line of training data is refused") {
  CHECK(holds(no_row(""), "no JSON"));
  CHECK(holds(no_row("x"), "no JSON at byte 1"));
  CHECK(holds(no_row(R"([{"input_ids":[1]}])"), "it is an array"));
  CHECK(holds(no_row("3"), "a single value"));
  CHECK(holds(no_row("{}"), "no input_ids"));
  CHECK(holds(no_row(R"({"labels":[1]})"), "no input_ids"));
  CHECK(holds(no_row(R"({"input_ids":[1])"), "no JSON"));
  CHECK(holds(no_row(R"({"input_ids":[1]}})"), "no JSON"));
  CHECK(holds(no_row(R"({"input_ids":[1]} {"input_ids":[1]})"), "no JSON"));
  CHECK(holds(no_row(R"({"input_ids":[1,]})"), "no JSON"));
  CHECK(holds(no_row(R"({"input_ids":[01]})"), "no JSON"));
  CHECK(holds(no_row(R"({'input_ids':[1]})"), "no JSON"));
  CHECK(holds(no_row(R"({"input_ids":[NaN]})"), "no JSON"));
  CHECK(holds(no_row(R"(/**/{"input_ids":[1]})"), "no JSON"));

  CHECK(holds(no_row("\xef\xbb\xbf{\"input_ids\":[1]}"), "byte order mark"));
  CHECK(holds(no_row({"{\"input_ids\":[1]}\0", 18}), "byte 17 is NUL"));
  CHECK(holds(no_row({"{\"input_ids\":[1],\"a\":\"\0\"}", 25}), "byte 22 is NUL"));
  CHECK(holds(no_row("{\"input_ids\":[1],\"a\":\"\xff\"}"), "no JSON"));
  CHECK(holds(no_row("{\"input_ids\":[1],\"a\":\"\xed\xa0\x80\"}"), "no JSON"));
  CHECK(holds(no_row("{\"input_ids\":[1],\"a\":\"\t\"}"), "no JSON"));
  CHECK(holds(no_row(R"({"input_ids":[1],"a":"\ud800"})"), "no JSON"));
  CHECK(holds(no_row(R"({"input_ids":[1],"a":1e400})"), "a number is out of range"));
  CHECK(holds(no_row(R"({"input_ids":[1e400]})"), "a number is out of range"));

  CHECK(holds(no_row(R"({"input_ids":5})"), "input_ids is no array"));
  CHECK(holds(no_row(R"({"input_ids":null})"), "input_ids is no array"));
  CHECK(holds(no_row(R"({"input_ids":"5"})"), "input_ids is no array"));
  CHECK(holds(no_row(R"({"input_ids":{"0":5}})"), "input_ids is an object"));
  CHECK(holds(no_row(R"({"input_ids":[[5]]})"), "input_ids holds an array"));
  CHECK(holds(no_row(R"({"input_ids":[5,{}]})"), "input_ids holds an object"));
  CHECK(holds(no_row(R"({"input_ids":[5,"6"]})"), "input_ids holds a text at place 1"));
  CHECK(holds(no_row(R"({"input_ids":[5.0]})"), "input_ids holds a number that is not written whole at place 0"));
  CHECK(holds(no_row(R"({"input_ids":[1e1]})"), "not written whole"));
  CHECK(holds(no_row(R"({"input_ids":[5,null]})"), "input_ids holds null at place 1"));
  CHECK(holds(no_row(R"({"input_ids":[5],"attention_mask":[true]})"), "attention_mask holds true or false at place 0"));

  CHECK(holds(no_row(R"({"input_ids":[5,100]})"), "input_ids[1] is 100, outside the vocabulary 0..99"));
  CHECK(holds(no_row(R"({"input_ids":[-1]})"), "input_ids[0] is -1"));
  CHECK(holds(no_row(R"({"input_ids":[-100]})"), "input_ids[0] is -100"));
  CHECK(holds(no_row(R"({"input_ids":[4294967297]})"), "input_ids[0] is 4294967297"));
  CHECK(holds(no_row(R"({"input_ids":[18446744073709551615]})"), "outside the vocabulary"));
  CHECK(holds(no_row(R"({"input_ids":[18446744073709551617]})"), "not written whole"));
  CHECK(holds(no_row(R"({"input_ids":[5],"labels":[100]})"), "labels[0] is 100"));
  CHECK(holds(no_row(R"({"input_ids":[5],"labels":[-1]})"), "labels[0] is -1"));
  CHECK(holds(no_row(R"({"input_ids":[5],"attention_mask":[2]})"), "attention_mask[0] is 2, neither 0 nor 1"));
  CHECK(holds(no_row(R"({"input_ids":[5],"attention_mask":[-100]})"), "neither 0 nor 1"));
  CHECK(holds(no_row(R"({"input_ids":[5,6],"attention_mask":[1]})"), "2 input_ids, 1 of attention_mask"));
  CHECK(holds(no_row(R"({"input_ids":[5,6],"labels":[]})"), "and 0 labels"));

  CHECK(holds(no_row(R"({"input_ids":[5],"input_ids":[5]})"), "the key 'input_ids' stands twice"));
  CHECK(holds(no_row(R"({"input_ids":[5],"input_\u0069ds":[5]})"), "the key 'input_ids' stands twice"));
  CHECK(holds(no_row(R"({"a":1,"input_ids":[5],"a":2})"), "the key 'a' stands twice"));
  CHECK(holds(no_row(R"({"a":{"b":1,"b":1},"input_ids":[5]})"), "the key 'b' stands twice"));
  CHECK(row_of(R"({"a":{"b":1},"b":1,"input_ids":[5]})").ids == Tokens{5});

  CHECK(holds(no_row(R"({"a":[[[[]]]],"input_ids":[5]})"), "nested more than 4 deep"));
  CHECK(row_of(R"({"a":[[[]]],"input_ids":[5]})").ids == Tokens{5});
  CHECK(holds(no_row(repeated("[", 1'000'000)), "it is an array"));
  CHECK(holds(no_row("{\"a\":" + repeated("[", 1'000'000)), "nested more than 4 deep"));
  CHECK(holds(no_row("{\"a\":" + repeated("{\"a\":", 1'000'000)), "nested more than 4 deep"));
  // A long text in the line is not in the sentence.
  CHECK(holds(no_row("{\"" + std::string(100'000, 'k') + "\":1,\"" + std::string(100'000, 'k') + "\":1}"), "twice"));
  CHECK(holds(no_row("{\"a\":\"" + std::string(1'000'000, 'k')), "no JSON"));
  CHECK(holds(no_row("{\"a\":" + std::string(1'000'000, '1') + "}"), "out of range"));
  std::string keys = "{";
  for (int key = 0; key < 70'000; ++key) keys += '"' + std::to_string(key) + "\":0,";
  CHECK(holds(no_row(keys + "\"input_ids\":[1]}"), "more than 65536 keys"));
}

TEST_CASE("sequences of a file lie packed, with their targets") {
  const Folder folder;
  const TokenSequences sequences{folder.file("{\"input_ids\":[5,6,7]}\r\n"
                                             "{\"input_ids\":[0,8,9,0],\"attention_mask\":[0,1,1,0]}\n"
                                             "{\"input_ids\":[1],\"labels\":[-100]}\n \n\n"),
                                 100};
  CHECK(sequences.size() == 3);
  CHECK(sequences.tokens() == 6);
  CHECK(sequences.longest() == 3);
  CHECK(sequences.targets() == 4);
  CHECK(sequences.ignored() == 1);
  const auto is = [&](Index index, const Tokens& ids, const Tokens& targets) {
    const auto sequence = sequences.sequence(index);
    CHECK(Tokens{sequence.ids.begin(), sequence.ids.end()} == ids);
    CHECK(Tokens{sequence.targets.begin(), sequence.targets.end()} == targets);
  };
  is(0, {5, 6, 7}, {6, 7, -1});
  is(1, {8, 9}, {9, 0});
  is(2, {1}, {-1});
  CHECK(holds(refusal([&] { (void)sequences.sequence(3); }), "sequence 3 of 3"));
  CHECK(holds(refusal([&] { (void)sequences.sequence(-1); }), "sequence -1 of 3"));
  CHECK(TokenSequences{folder.file(R"({"input_ids":[5]})"), 100}.size() == 1);  // no line feed at the end
}

TEST_CASE("a bad line is named by file and line") {
  const Folder folder;
  const auto bad = [&](std::string_view content) {
    return refusal([&] { TokenSequences{folder.file(content), 100}; });
  };
  const std::string good = "{\"input_ids\":[5]}\n";
  CHECK(holds(bad(good + "{\"input_ids\":[5]"), "rows.jsonl:2: it is no JSON"));
  CHECK(holds(bad(good + good + "{\"input_ids\":[100]}"), "rows.jsonl:3: input_ids[0] is 100"));
  CHECK(holds(bad(good + "{\"input_ids\":[5,6,7],\"attention_mask\":[1,0,1]}"),
              "rows.jsonl:2: attention_mask has a hole"));
  CHECK(holds(bad("{\"input_ids\":[]}"), "rows.jsonl:1: the row of 0 positions has no token"));
  CHECK(holds(bad("{\"input_ids\":[5],\"attention_mask\":[0]}"), "rows.jsonl:1: the row of 1 positions has no token"));
  CHECK(holds(bad(good + "\n" + good), "rows.jsonl:2: the line is blank and others follow"));
  CHECK(holds(bad("\n" + good), "rows.jsonl:1: the line is blank"));
  CHECK(holds(bad("\xef\xbb\xbf" + good), "rows.jsonl:1: it starts with a byte order mark"));
  CHECK(holds(bad(""), "has no sequence"));
  CHECK(holds(bad("\n\n"), "has no sequence"));
  CHECK(holds(refusal([&] { TokenSequences{(folder.path / "absent").string(), 100}; }), "absent': No such file"));
  CHECK(holds(refusal([&] { TokenSequences{folder.path.string(), 100}; }), "Is a directory"));
  CHECK(holds(refusal([&] { TokenSequences{folder.file(good), 0}; }), "a vocabulary of 0"));
}

// Bytes of this process' memory at its largest, or 0 where the system does not say.
Index peak_memory() {
  std::ifstream status{"/proc/self/status"};
  for (std::string line; std::getline(status, line);)
    if (line.starts_with("VmHWM:")) return std::stoll(line.substr(6)) * 1024;
  return 0;
}

TEST_CASE("a line of a gigabyte is refused while it is read") {
  const Folder folder;
  const std::string path = folder.file("{\"input_ids\":[5]}\n{\"input_ids\":[");
  std::filesystem::resize_file(path, std::uintmax_t{1} << 30);  // a hole that reads as NUL
  const Index before = peak_memory();
  CHECK(holds(refusal([&] { TokenSequences{path, 100}; }),
              "rows.jsonl:2: the line is longer than the limit of 67108864"));
  CHECK(holds(refusal([&] {
                JsonlText text{path, "a"};
                (void)text.next();
              }),
              "rows.jsonl:1: it has no field 'a'"));
  CHECK(peak_memory() - before < Index{400} << 20);  // sanitizers keep what was freed
}

TEST_CASE("texts of a file of objects") {
  const Folder folder;
  const std::string path =
      folder.file("{\"text\":\"a \\n\\u0000\\u00e9\",\"n\":{\"text\":1}}\n{\"id\":3,\"text\":\"\"}\r\n\n");
  JsonlText rows{path};
  CHECK(rows.next() == std::string_view{"a \n\0\xc3\xa9", 6});
  CHECK(rows.next() == "");
  CHECK(!rows.next());
  CHECK(rows.rows() == 2);
  CHECK(rows.bytes() == static_cast<Index>(std::filesystem::file_size(path)));
  const auto bad = [&](std::string_view content, const char* field = "text") {
    return refusal([&] {
      JsonlText all{folder.file(content), field};
      while (all.next()) continue;
    });
  };
  CHECK(holds(bad("{\"text\":\"a\"}\n{}\n"), "rows.jsonl:2: it has no field 'text'"));
  CHECK(holds(bad("{\"text\":\"a\"}\n", "body"), "rows.jsonl:1: it has no field 'body'"));
  CHECK(holds(bad("{\"text\":5}\n"), "its field 'text' is no text"));
  CHECK(holds(bad("{\"text\":[\"a\"]}\n"), "its field 'text' is no text"));
  CHECK(holds(bad("{\"text\":{\"text\":\"a\"}}\n"), "its field 'text' is no text"));
  CHECK(holds(bad("{\"text\":\"a\",\"text\":\"b\"}\n"), "stands twice"));
  CHECK(holds(bad("{\"text\":\"a\"}\n\n{\"text\":\"a\"}\n"), "rows.jsonl:2: the line is blank"));
  CHECK(holds(bad("{\"a\":" + repeated("[", 1'000'000)), "nested more than 64 deep"));
  CHECK(bad("{\"a\":" + repeated("[", 63) + repeated("]", 63) + ",\"text\":\"a\"}").empty());
}

TEST_CASE("a block is a line as to_json writes it, and comes back") {
  const Folder folder;
  const std::string path = (folder.path / "out.jsonl").string();
  {
    moepar::JsonlWriter writer{path};
    writer.write(Tokens{1, 22557, 0});
    CHECK(!std::filesystem::exists(path));
  }
  CHECK(std::filesystem::is_empty(folder.path));  // without finish() nothing is left
  moepar::JsonlWriter writer{path};
  writer.write(Tokens{1, 22557, 0});
  writer.write(Tokens{2147483647});
  writer.write(Tokens{});
  writer.finish();
  std::ostringstream written;
  written << std::ifstream{path, std::ios::binary}.rdbuf();
  CHECK(written.str() ==
        "{\"input_ids\":[1,22557,0],\"attention_mask\":[1,1,1],\"labels\":[1,22557,0]}\n"
        "{\"input_ids\":[2147483647],\"attention_mask\":[1],\"labels\":[2147483647]}\n"
        "{\"input_ids\":[],\"attention_mask\":[],\"labels\":[]}\n");
  CHECK(row_of(written.str().substr(0, written.str().find('\n')), 32000).labels == Tokens{1, 22557, 0});
}

}  // namespace
