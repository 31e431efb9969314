// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <charconv>
#include <cmath>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include <moepar/core/index.hpp>
#include <moepar/core/utf8.hpp>

namespace moepar::detail {

//! Writes one JSON object on one line, always valid: texts are escaped, bytes that are not UTF-8 become U+FFFD, numbers
//! that JSON lacks become null. The buffer is kept from line to line. Keys must need no escaping.
class JsonLine {
 public:
  //! Starts a line; makes room for `bytes` of them.
  void open(std::size_t bytes) {
    line_.reserve(bytes);
    line_ = '{';
  }
  //! Ends the line: the object with its line feed, valid until the next open().
  std::string_view close() { return line_ += "}\n"; }

  void field(std::string_view key, std::string_view text) { start(key), string(text); }
  void field(std::string_view key, const char* text) { field(key, std::string_view{text}); }
  template <std::same_as<bool> Flag> void field(std::string_view key, Flag flag) {
    start(key), line_ += flag ? "true" : "false";
  }
  template <std::integral Number>
    requires(!std::same_as<Number, bool>)
  void field(std::string_view key, Number number) {
    start(key), digits(number);
  }
  //! The shortest digits that read back as the same number.
  void field(std::string_view key, double number) {
    start(key);
    if (std::isfinite(number))
      digits(number);
    else
      line_ += "null";
  }
  //! An array of numbers.
  void field(std::string_view key, std::span<const std::int32_t> numbers) {
    start(key), line_ += '[';
    for (std::size_t i = 0; i < numbers.size(); ++i) {
      if (i > 0) line_ += ',';
      digits(numbers[i]);
    }
    line_ += ']';
  }
  //! An array of `rows` arrays of `columns` numbers each, from row-major `numbers`.
  void field(std::string_view key, const std::int64_t* numbers, Index rows, Index columns) {
    start(key), line_ += '[';
    for (Index row = 0; row < rows; ++row) {
      line_ += row == 0 ? "[" : ",[";
      for (Index column = 0; column < columns; ++column) {
        if (column > 0) line_ += ',';
        digits(numbers[row * columns + column]);
      }
      line_ += ']';
    }
    line_ += ']';
  }

 private:
  void start(std::string_view key) {
    if (line_.size() > 1) line_ += ',';
    line_ += '"', line_ += key, line_ += "\":";
  }
  template <class Number> void digits(Number number) {
    char text[32];  // the longest double takes 24, the longest integer 20
    line_.append(text, std::to_chars(text, text + sizeof text, number).ptr);
  }
  void string(std::string_view text) {
    line_ += '"';
    while (!text.empty()) {
      const std::size_t length = utf8_length(text);
      if (length == 0)
        line_ += "\\ufffd";
      else if (const char first = text[0]; first == '"' || first == '\\')
        line_ += '\\', line_ += first;
      else if (static_cast<unsigned char>(first) < 0x20 || first == 0x7f)
        line_ += "\\u00", line_ += "0123456789abcdef"[first >> 4], line_ += "0123456789abcdef"[first & 15];
      else
        line_ += text.substr(0, length);
      text.remove_prefix(length == 0 ? 1 : length);
    }
    line_ += '"';
  }

  std::string line_;
};

}  // namespace moepar::detail
