// SPDX-License-Identifier: Apache-2.0
// Any bytes as a line of training data, as a line with a text, as a part of the rows and as the header of a token file:
// refused with an Error, or read into what keeps its promises. With libFuzzer:
//   clang++-16 -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -I include tests/fuzz/jsonl.cpp
//   ./a.out FOLDER_OF_ITS_OWN tests/fuzz/corpus/jsonl
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>

#include <moepar/core/error.hpp>
#include <moepar/data/jsonl_text.hpp>
#include <moepar/data/split.hpp>
#include <moepar/data/token_file_header.hpp>
#include <moepar/data/token_row.hpp>
#include <moepar/data/token_row_reader.hpp>

namespace {

constexpr moepar::Index vocabulary = 32000;

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

void check_row(std::string_view line) {
  const moepar::TokenRow row = moepar::read_token_row(line, vocabulary, "line");
  const auto token = [](std::int32_t id) { return id >= 0 && id < vocabulary; };
  require(row.mask.size() == row.ids.size() && row.labels.size() == row.ids.size(), "the three are equally long");
  require(std::all_of(row.ids.begin(), row.ids.end(), token), "ids are in the vocabulary");
  require(std::all_of(row.labels.begin(), row.labels.end(), [&](auto id) { return id == -100 || token(id); }),
          "labels are in the vocabulary or -100");

  const moepar::PackedRow packed = moepar::pack(row, "line");
  require(!packed.ids.empty() && packed.ids.size() == packed.targets.size(), "a target for each token");
  require(static_cast<std::ptrdiff_t>(packed.ids.size()) == std::count(row.mask.begin(), row.mask.end(), 1),
          "all tokens are kept");
  require(std::all_of(packed.targets.begin(), packed.targets.end(), [&](auto id) { return id == -1 || token(id); }),
          "targets are in the vocabulary or -1");
  const auto kept =
      static_cast<std::ptrdiff_t>(packed.targets.size()) - std::count(packed.targets.begin(), packed.targets.end(), -1);
  const auto labels = std::count_if(row.labels.begin() + 1, row.labels.end(), [](auto id) { return id != -100; });
  require(kept + packed.ignored == labels, "every label but the first is a target or counted");
}

void check_text(std::string_view line) {
  const std::string field = "text", text = moepar::detail::TextFieldReader{field, "line"}.text(line);
  require(text.size() <= line.size(), "a text is no longer than its line");
}

void check_header(std::string_view bytes) {
  const auto size = static_cast<moepar::Index>(bytes.size());
  const moepar::TokenFileHeader header = moepar::read_token_file_header(bytes.substr(0, 64), size, "file");
  require(header.length >= 1 && header.count >= 0, "sizes are sizes");
  require(64 + header.count * header.length * header.width == size, "the blocks end where the file ends");
  // Its own hash apart, a header that is written again says the same.
  require(moepar::detail::token_file_header(header).substr(0, 56) == bytes.substr(0, 56), "all of it was read");
}

void check_split(std::string_view text) {
  if (text.size() > 100) return;
  const moepar::Split split{text};
  for (const moepar::Index rows : {moepar::Index{0}, moepar::Index{99}, moepar::Index{1} << 56}) try {
      const moepar::RowRange range = split.of(rows);
      require(range.first >= 0 && range.first <= range.last && range.last <= rows, "a part is inside the rows");
    } catch (const moepar::Error&) {
    }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  for (const auto check : {check_row, check_text, check_header, check_split}) try {
      check(bytes);
    } catch (const moepar::Error& error) {
      const std::string_view sentence = error.what();
      require(sentence.find("Fix: ") != std::string_view::npos && sentence.size() < 1000,
              "a short sentence with a fix");
    }
  return 0;
}
