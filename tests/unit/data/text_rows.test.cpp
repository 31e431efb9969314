// SPDX-License-Identifier: Apache-2.0
#include <moepar/data/text_rows.hpp>

#include <doctest/doctest.h>

#include "data_test.hpp"

#include <algorithm>
#include <cstdint>
#include <filesystem>
#include <fstream>
#include <optional>
#include <random>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/data/group_texts.hpp>
#include <moepar/data/split.hpp>

namespace {

using data_test::Folder;
using data_test::holds;
using data_test::refusal;
using moepar::GroupTexts;
using moepar::Index;
using moepar::RowRange;
using moepar::Split;
using moepar::TextFormat;
using moepar::TextRows;
using Tokens = std::vector<std::int32_t>;
using Rows = std::vector<std::string>;

Rows rows_of(const std::string& path, moepar::TextRowSettings settings = {}) {
  TextRows rows{path, settings};
  Rows all;
  while (const auto row = rows.next()) all.emplace_back(*row);
  CHECK(!rows.next());
  CHECK(rows.rows() == static_cast<Index>(all.size()));
  CHECK(rows.bytes() == static_cast<Index>(std::filesystem::file_size(path)));
  return all;
}

TEST_CASE("lines are rows, byte for byte but for their ends") {
  const Folder folder;
  CHECK(rows_of(folder.file("a \n\n b\t\r\nc\rd\r\r\n\xff")) == Rows{"a ", "", " b\t", "c\rd\r", "\xff"});
  CHECK(rows_of(folder.file("a\n")) == Rows{"a"});
  CHECK(rows_of(folder.file("\n")) == Rows{""});
  CHECK(rows_of(folder.file(std::string_view{"a\0b\n", 4})) == Rows{std::string{"a\0b", 3}});
  CHECK(rows_of(folder.file("a\r\nb\n"), {.format = TextFormat::whole}) == Rows{"a\r\nb\n"});
  // Around the pieces in which the file is read, 65536 bytes each.
  for (const std::size_t length : {65534U, 65535U, 65536U, 65537U, 131072U, 200000U}) {
    const std::string line(length, 'x');
    CHECK(rows_of(folder.file(line + "\r\n" + line + "\nend")) == Rows{line, line, "end"});
  }
}

TEST_CASE("files and lines that are no rows are refused by their place") {
  const Folder folder;
  CHECK(holds(refusal([&] { rows_of((folder.path / "absent").string()); }), "absent': No such file"));
  CHECK(holds(refusal([&] { rows_of(folder.path.string()); }), "Is a directory"));
  CHECK(holds(refusal([&] { rows_of(folder.file("")); }), "it is empty"));
  CHECK(holds(refusal([&] { rows_of(folder.file("abc\nabcd\n"), {.longest = 3}); }),
              "rows:2: the line is longer than the limit of 3 bytes"));
  CHECK(rows_of(folder.file("abc\nabc"), {.longest = 3}).size() == 2);
  CHECK(holds(refusal([&] { rows_of(folder.file("abcd"), {.format = TextFormat::whole, .longest = 3}); }),
              "limit of 3 bytes"));
}

TEST_CASE("a column of a file with tabs, wherever it is") {
  const Folder folder;
  const moepar::TextRowSettings tsv{.format = TextFormat::tsv};
  CHECK(rows_of(folder.file("sentence\tlabel\nhide it \t0\n\t1\n"), tsv) == Rows{"hide it ", ""});
  CHECK(rows_of(folder.file("index\tsentence\r\n0\tan end .\r\n"), tsv) == Rows{"an end ."});
  CHECK(rows_of(folder.file("a\tsentence\tb\n1\t\"2\t3"), tsv) == Rows{"\"2"});  // quotes are text
  CHECK(rows_of(folder.file("a\tb\n1\t2\n"), {.format = TextFormat::tsv, .column = "b"}) == Rows{"2"});
  CHECK(rows_of(folder.file("sentence\n"), tsv).empty());
  CHECK(holds(refusal([&] { rows_of(folder.file("a\tb\n1\t2\n"), tsv); }), "rows:1: no column is named 'sentence'"));
  CHECK(holds(refusal([&] { rows_of(folder.file("sentence\tsentence\n"), tsv); }), "rows:1: two columns are named"));
  CHECK(holds(refusal([&] { rows_of(folder.file("sentence\tb\n1\t2\n3\n"), tsv); }),
              "rows:3: the line has 1 columns and the header 2"));
  CHECK(holds(refusal([&] { rows_of(folder.file("sentence\tb\n1\t2\t3\n"), tsv); }), "rows:2: the line has 3 columns"));
  CHECK(holds(refusal([&] { rows_of(folder.file("sentence\tb\n1\t2\n\n"), tsv); }), "rows:3"));
}

TEST_CASE("parts of the rows are Hugging Face's") {
  const auto of = [](std::string_view text, Index rows) { return Split{text}.of(rows); };
  CHECK(of("train[:10%]", 67349) == RowRange{0, 6735});
  CHECK(of("train[10%:]", 67349) == RowRange{6735, 67349});
  CHECK(of("train", 7) == RowRange{0, 7});
  CHECK(of("[100:200]", 1000) == RowRange{100, 200});
  CHECK(of("[-5%:]", 1000) == RowRange{950, 1000});
  CHECK(of("[:-5%]", 1000) == RowRange{0, 950});
  CHECK(of("my_set.v-1[-3:-1]", 10) == RowRange{7, 9});
  CHECK(of("[:]", 3) == RowRange{0, 3});
  CHECK(of("[33%:67%]", 10) == RowRange{3, 7});
  CHECK(of("[-100%:100%]", 10) == RowRange{0, 10});
  // Halves go to the even row: round(2.5) and round(3.5) in Python.
  CHECK(of("[:50%]", 5) == RowRange{0, 2});
  CHECK(of("[:50%]", 7) == RowRange{0, 4});
  CHECK(of("[-50%:]", 5) == RowRange{3, 5});
  CHECK(of("[-1%:]", 10) == RowRange{0, 10});  // -0.1 rounds to row 0
  CHECK(of("[5:3]", 10).size() == 0);
  CHECK(of("[:]", 0) == RowRange{0, 0});
  CHECK(Split{"train[:10%]"}.name() == "train");
  CHECK(Split{"[:]"}.everything());
  CHECK(!Split{"[0:]"}.everything());
  // Tenths cover the rows once, whatever their number.
  for (Index rows = 0; rows < 300; ++rows) {
    Index next = 0;
    for (int tenth = 0; tenth < 100; tenth += 10) {
      const RowRange part = of("[" + std::to_string(tenth) + "%:" + std::to_string(tenth + 10) + "%]", rows);
      CHECK(part.first == next);
      next = part.last;
    }
    CHECK(next == rows);
  }
}

TEST_CASE("what is no part of the rows is refused with its text") {
  for (const std::string_view text : {"",
                                      "train[",
                                      "train[]",
                                      "train[5]",
                                      "train[:10%",
                                      "train[:1.5%]",
                                      "train[:10%]x",
                                      "train+test",
                                      "tr ain",
                                      "train[:10%]+train[20%:]",
                                      "[:+5]",
                                      "[: 5]",
                                      "[:5 %]",
                                      "[a:]",
                                      "[%:]",
                                      "[-:]",
                                      "[:101%]",
                                      "[-101%:]",
                                      "[1:2:3]",
                                      "[10:20%]",
                                      "[10%:20]",
                                      "[:99999999999999999999]",
                                      "[[:]]",
                                      "[:]["}) {
    const std::string sentence = refusal([&] { Split{text}; });
    CHECK_MESSAGE(holds(sentence, "'" + std::string{text} + "'"), text);
  }
  CHECK(holds(refusal([] { (void)Split{"[:11]"}.of(10); }), "the bound 11 is beyond the 10 rows"));
  CHECK(holds(refusal([] { (void)Split{"[-11:]"}.of(10); }), "the bound -11 is beyond the 10 rows"));
  CHECK(refusal([&] { Split{std::string(100000, 'x') + "["}; }).size() < 400);
}

struct Grouped {
  std::vector<Tokens> blocks;
  Index rows, ids, dropped;
};

Grouped group(const std::vector<Tokens>& rows, moepar::GroupSettings settings) {
  GroupTexts texts{settings};
  Grouped result{};
  for (const Tokens& row : rows)
    texts.add(row,
              [&](std::span<const std::int32_t> block) { result.blocks.emplace_back(block.begin(), block.end()); });
  texts.finish();
  CHECK(texts.blocks() == static_cast<Index>(result.blocks.size()));
  result.rows = texts.rows(), result.ids = texts.ids(), result.dropped = texts.dropped();
  return result;
}

TEST_CASE("rows of a batch are joined and cut, the rest of each batch is dropped") {
  const std::vector<Tokens> rows{{1, 2, 3}, {4, 5}, {}, {6, 7, 8, 9, 10, 11, 12}, {13}};
  CHECK(group(rows, {.block = 3, .batch = 2}).blocks == std::vector<Tokens>{{1, 2, 3}, {6, 7, 8}, {9, 10, 11}});
  CHECK(group(rows, {.block = 3, .batch = 0}).blocks ==
        std::vector<Tokens>{{1, 2, 3}, {4, 5, 6}, {7, 8, 9}, {10, 11, 12}});
  const Grouped all = group(rows, {.block = 3, .batch = 2});
  CHECK(all.rows == 5);
  CHECK(all.ids == 13);
  CHECK(all.dropped == 4);
  CHECK(group(rows, {.block = 14, .batch = 0}).dropped == 13);
  CHECK(group({}, {}).ids == 0);
  CHECK(holds(refusal([] { GroupTexts{{.block = 0}}; }), "block = 0"));
  CHECK(holds(refusal([] { GroupTexts{{.batch = -1}}; }), "batch = -1"));
}

TEST_CASE("blocks are those of the rule as run_clm.py states it") {
  std::mt19937 random{3};
  for (int round = 0; round < 400; ++round) {
    const auto below = [&](unsigned limit) { return static_cast<Index>(random() % limit); };
    const Index block = 1 + below(9), batch = below(5);
    std::vector<Tokens> rows(random() % 12);
    for (Tokens& row : rows)
      for (auto left = random() % 14; left > 0; --left) row.push_back(static_cast<std::int32_t>(random() % 100));
    std::vector<Tokens> expected;
    const std::size_t step = batch == 0 ? rows.size() : static_cast<std::size_t>(batch);
    for (std::size_t first = 0; first < rows.size(); first += step) {
      Tokens joined;
      for (std::size_t row = first; row < std::min(first + step, rows.size()); ++row)
        joined.insert(joined.end(), rows[row].begin(), rows[row].end());
      const auto length = static_cast<std::ptrdiff_t>(block);
      for (auto at = joined.begin(); joined.end() - at >= length; at += length) expected.emplace_back(at, at + length);
    }
    const Grouped got = group(rows, {.block = block, .batch = batch});
    CHECK(got.blocks == expected);
    CHECK(got.ids == got.dropped + block * static_cast<Index>(got.blocks.size()));
  }
}

}  // namespace
