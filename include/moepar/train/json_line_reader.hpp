// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <charconv>
#include <cstddef>
#include <functional>
#include <map>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/train/json_line.hpp>
#include <moepar/train/step_report.hpp>

namespace moepar {

//! One value of a metrics line.
struct JsonValue {
  enum Type { null, flag, number, text, table } type = null;
  std::string characters{};     //!< of a text; a number's digits, since 64 bits do not pass through a double; "true"
  double real = not_measured;   //!< of a number
  std::vector<double> cells{};  //!< of a table, row-major
  std::size_t rows = 0;
};
using JsonFields = std::map<std::string, JsonValue, std::less<>>;

namespace detail {

class JsonLineReader {
 public:
  explicit JsonLineReader(std::string_view line) : rest_{line} {}

  JsonFields object() {
    if (rest_.size() > longest) fail("it is longer than 4 MiB");
    JsonFields fields;
    expect('{');
    if (!take('}')) {
      do {
        std::string name = text();
        expect(':');
        JsonValue read = value(1);
        if (!fields.try_emplace(std::move(name), std::move(read)).second) fail("a field stands twice");
      } while (take(','));
      expect('}');
    }
    space();
    if (!rest_.empty()) fail("something follows the object");
    return fields;
  }

 private:
  static constexpr std::size_t longest = std::size_t{4} << 20;

  [[noreturn]] static void fail(const std::string& reason) { throw Error{reason}; }
  void space() { rest_.remove_prefix(std::min(rest_.find_first_not_of(" \t\r"), rest_.size())); }
  bool take(char character) {
    space();
    const bool found = rest_.starts_with(character);
    if (found) rest_.remove_prefix(1);
    return found;
  }
  bool word(std::string_view text) {
    const bool found = rest_.starts_with(text);
    if (found) rest_.remove_prefix(text.size());
    return found;
  }
  void expect(char character) {
    if (!take(character))
      fail(rest_.empty() ? std::string{"it ends too early"}
                         : std::string{"it is no JSON: expected '"} + character + "'");
  }

  JsonValue value(int depth) {
    space();
    if (rest_.starts_with('"')) return {.type = JsonValue::text, .characters = text()};
    if (rest_.starts_with('[') && depth > 2) fail("its arrays are nested more than 2 deep");
    if (rest_.starts_with('[')) return table(depth);
    if (rest_.starts_with('{')) fail("it holds an object, which metrics do not");
    if (word("null")) return {};
    if (word("true")) return {.type = JsonValue::flag, .characters = "true"};
    if (word("false")) return {.type = JsonValue::flag, .characters = "false"};
    return number();
  }

  // An array of numbers, or of arrays of them that are equally long.
  JsonValue table(int depth) {
    JsonValue result{.type = JsonValue::table};
    expect('[');
    if (take(']')) return result;
    const auto type = rest_.starts_with('[') ? JsonValue::table : JsonValue::number;
    do {
      JsonValue row = value(depth + 1);
      if (row.type != type) fail("an array holds something else than numbers, or numbers and arrays");
      if (type == JsonValue::number) row.cells = {row.real};
      if (result.rows > 0 && row.cells.size() * result.rows != result.cells.size()) fail("rows of an array differ");
      result.cells.insert(result.cells.end(), row.cells.begin(), row.cells.end());
      ++result.rows;
    } while (take(','));
    expect(']');
    return result;
  }

  JsonValue number() {
    std::size_t size = 0;
    const auto digits = [&] {
      const std::size_t first = size;
      while (size < rest_.size() && rest_[size] >= '0' && rest_[size] <= '9') ++size;
      if (size == first) fail(rest_.empty() ? "it ends too early" : "it is no JSON: expected a value");
    };
    const auto next = [&](std::string_view any) {
      const bool found = size < rest_.size() && any.find(rest_[size]) != std::string_view::npos;
      size += found ? 1 : 0;
      return found;
    };
    next("-");
    if (!next("0")) digits();
    if (next(".")) digits();
    if (next("eE")) next("+-"), digits();
    JsonValue result{.type = JsonValue::number, .characters = std::string{rest_.substr(0, size)}};
    if (std::from_chars(rest_.data(), rest_.data() + size, result.real).ec != std::errc{})
      fail("the number " + result.characters.substr(0, 40) + " is out of range");
    rest_.remove_prefix(size);
    return result;
  }

  std::string text() {
    expect('"');
    std::string result;
    while (!rest_.starts_with('"')) {
      const std::size_t length = utf8_length(rest_);
      if (rest_.empty()) fail("it ends too early");
      if (length == 0) fail("a text is not UTF-8");
      if (static_cast<unsigned char>(rest_[0]) < 0x20) fail("a text holds a control character");
      if (result.size() > 4096) fail("a text is longer than 4096 bytes");
      if (rest_[0] == '\\') {
        escape(result);
      } else {
        result += rest_.substr(0, length);
        rest_.remove_prefix(length);
      }
    }
    rest_.remove_prefix(1);
    return result;
  }

  void escape(std::string& result) {
    constexpr std::string_view names = "\"\\/bfnrt", characters = "\"\\/\b\f\n\r\t";
    if (rest_.size() > 1 && rest_[1] != 'u') {
      const std::size_t which = names.find(rest_[1]);
      if (which == std::string_view::npos) fail("a text holds an unknown escape");
      result += characters[which];
      return rest_.remove_prefix(2);
    }
    unsigned code = unit();
    if (code >= 0xd800 && code < 0xdc00 && rest_.starts_with("\\u")) {
      const unsigned low = unit();
      code = low >= 0xdc00 && low < 0xe000 ? 0x10000 + ((code - 0xd800) << 10) + (low - 0xdc00) : 0xfffd;
    }
    if (code >= 0xd800 && code < 0xe000) code = 0xfffd;  // half a pair
    const auto add = [&](unsigned bits) { result += static_cast<char>(bits); };
    if (code < 0x80) return add(code);
    if (code < 0x800) return add(0xc0 | code >> 6), add(0x80 | (code & 63));
    code < 0x10000 ? add(0xe0 | code >> 12) : (add(0xf0 | code >> 18), add(0x80 | (code >> 12 & 63)));
    add(0x80 | (code >> 6 & 63)), add(0x80 | (code & 63));
  }

  unsigned unit() {  // the XXXX of \uXXXX
    unsigned code = 0;
    if (rest_.size() < 6 || std::from_chars(rest_.data() + 2, rest_.data() + 6, code, 16).ptr != rest_.data() + 6)
      fail("a text holds a broken \\u escape");
    rest_.remove_prefix(6);
    return code;
  }

  std::string_view rest_;
};

}  // namespace detail

//! The fields of `line`, one JSON object (RFC 8259, UTF-8) as MetricsFile writes them: flags, numbers, texts up to 4096
//! bytes, and arrays of numbers or of equally long arrays of numbers, 4 MiB in all. For files that nobody vouches for:
//! throws Error with the reason for anything else, a field that stands twice among it; memory is at most a small
//! multiple of the line.
[[nodiscard]] inline JsonFields read_json_line(std::string_view line) { return detail::JsonLineReader{line}.object(); }

}  // namespace moepar
