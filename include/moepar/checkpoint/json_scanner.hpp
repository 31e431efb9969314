// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <bitset>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <source_location>
#include <string>
#include <string_view>
#include <system_error>

#include <moepar/core/error.hpp>
#include <moepar/core/utf8.hpp>

namespace moepar {

//! What JsonScanner throws. problem() is the sentence without the frame, for callers that know the file: "byte 17:
//! ...".
class JsonError : public Error {
 public:
  explicit JsonError(const std::string& problem, std::source_location where = std::source_location::current())
      : Error{"moepar::JsonScanner: " + problem + ". Fix: give JSON of the expected form.", where}, problem_{problem} {}

  [[nodiscard]] const std::string& problem() const noexcept { return problem_; }

 private:
  std::string problem_;
};

enum class JsonToken { object_begin, object_end, array_begin, array_end, key, string, number, boolean, null, end };

//! Reads a text of JSON (RFC 8259) token by token, for input that nobody vouches for: strict, without recursion, and
//! never holding more than the string it stands at. Nesting ends at 127 levels, as in serde_json. Throws JsonError at
//! the first byte that is wrong. The text must outlive the scanner and be UTF-8 (detail::utf8_error), which is not
//! checked here. Keys that stand twice are the caller's affair.
class JsonScanner {
 public:
  static constexpr std::size_t deepest = 127;

  explicit JsonScanner(std::string_view text) : text_{text} {}

  //! The next token; `end` once the one value of the text is over and nothing follows it.
  JsonToken next() {
    skip_space();
    if (state_ == State::after) {
      if (depth_ == 0) {
        if (at_ < text_.size()) refuse("nothing may follow the value");
        start_ = at_;
        return JsonToken::end;
      }
      if (closes()) return close();
      if (peek() != ',') refuse(in_object() ? "a comma or '}' must follow" : "a comma or ']' must follow");
      ++at_;
      skip_space();
      state_ = in_object() ? State::key : State::value;
    } else if (state_ == State::first) {
      if (closes()) return close();
      state_ = in_object() ? State::key : State::value;
    }
    start_ = at_;
    return state_ == State::key ? key() : value();
  }

  //! In an object: whether a further key follows, which string() then is; false once the object is over.
  bool next_key() { return next() == JsonToken::key; }

  //! In an array: whether a further element follows, to be taken next; false once the array is over.
  bool next_element() {
    skip_space();
    if (!closes() || state_ == State::key || state_ == State::value) return true;
    close();
    return false;
  }

  //! The next token must be `token`; `expected` says what should stand there.
  void take(JsonToken token, std::string_view expected) {
    if (next() != token) refuse_value(expected);
  }

  //! The next value must be a string; it is string().
  const std::string& take_string(std::string_view expected) {
    take(JsonToken::string, expected);
    return string_;
  }

  //! The next value must be a whole number from 0 to 2^64 - 1, spelled in digits alone.
  std::uint64_t take_unsigned(std::string_view expected) {
    std::uint64_t number = 0;
    if (next() != JsonToken::number) refuse_value(expected);
    const char* const end = text_.data() + at_;
    const auto [rest, problem] = std::from_chars(text_.data() + start_, end, number);
    if (problem != std::errc{} || rest != end) refuse_value(expected);
    return number;
  }

  //! Reads one whole value, whatever it is, and forgets it.
  void skip_value() {
    const std::size_t outside = depth_;
    do next();
    while (depth_ > outside);
  }

  //! The last key or string, its escapes resolved.
  [[nodiscard]] const std::string& string() const noexcept { return string_; }

  //! The byte up to which the text has been read.
  [[nodiscard]] std::size_t position() const noexcept { return at_; }

  //! How many objects and arrays are open.
  [[nodiscard]] std::size_t depth() const noexcept { return depth_; }

  //! Throws JsonError for what a caller finds wrong about what was just read.
  [[noreturn]] void refuse(const std::string& problem) const {
    throw JsonError{"byte " + std::to_string(at_) + ": " + problem +
                    (at_ >= text_.size() ? " (the text ends here)" : " (here stands " + shown(text_[at_]) + ")")};
  }

 private:
  //! What may come: the first member of an object or array or its end; a key; a value; what follows a value.
  enum class State { first, key, value, after };

  [[noreturn]] void refuse_value(std::string_view expected) const {
    throw JsonError{"byte " + std::to_string(start_) + ": " + std::string{expected} + " must stand here"};
  }

  static std::string shown(char character) {
    const auto byte = static_cast<unsigned char>(character);
    if (byte > ' ' && byte < 0x7f) return std::string{"'"} + character + "'";
    return "the byte " + std::to_string(byte);
  }

  [[nodiscard]] char peek() const { return at_ < text_.size() ? text_[at_] : '\0'; }
  [[nodiscard]] bool in_object() const { return depth_ > 0 && is_object_[depth_ - 1]; }
  [[nodiscard]] bool closes() const { return depth_ > 0 && peek() == (in_object() ? '}' : ']'); }

  void skip_space() {
    while (at_ < text_.size() && (peek() == ' ' || peek() == '\n' || peek() == '\r' || peek() == '\t')) ++at_;
  }

  JsonToken close() {
    start_ = at_;
    const bool object = in_object();
    ++at_;
    --depth_;
    state_ = State::after;
    return object ? JsonToken::object_end : JsonToken::array_end;
  }

  JsonToken open(bool object) {
    if (depth_ == deepest) refuse("objects and arrays nest more than " + std::to_string(deepest) + " levels deep");
    ++at_;
    is_object_[depth_++] = object;
    state_ = State::first;
    return object ? JsonToken::object_begin : JsonToken::array_begin;
  }

  JsonToken key() {
    if (peek() != '"') refuse("a key in quotes must stand here");
    read_string();
    skip_space();
    if (peek() != ':') refuse("a colon must follow the key");
    ++at_;
    state_ = State::value;
    return JsonToken::key;
  }

  JsonToken value() {
    state_ = State::after;
    switch (peek()) {
      case '{':
        return open(true);
      case '[':
        return open(false);
      case '"':
        read_string();
        return JsonToken::string;
      case 't':
        return word("true", JsonToken::boolean);
      case 'f':
        return word("false", JsonToken::boolean);
      case 'n':
        return word("null", JsonToken::null);
      default:
        read_number();
        return JsonToken::number;
    }
  }

  JsonToken word(std::string_view spelled, JsonToken token) {
    if (text_.substr(at_, spelled.size()) != spelled) refuse("a value must stand here");
    at_ += spelled.size();
    return token;
  }

  bool digits() {
    const std::size_t start = at_;
    while (peek() >= '0' && peek() <= '9') ++at_;
    return at_ > start;
  }

  void read_number() {
    if (peek() == '-') ++at_;
    if (peek() == '0') {
      ++at_;
    } else if (!digits()) {
      refuse("a value must stand here");
    }
    if (peek() == '.') {
      ++at_;
      if (!digits()) refuse("a digit must follow the decimal point");
    }
    if (peek() == 'e' || peek() == 'E') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (!digits()) refuse("a digit must stand in the exponent");
    }
  }

  void read_string() {
    string_.clear();
    ++at_;
    for (;;) {
      const std::size_t start = at_;
      while (at_ < text_.size() && text_[at_] != '"' && text_[at_] != '\\' && !control(text_[at_])) ++at_;
      string_.append(text_, start, at_ - start);
      if (at_ >= text_.size() || control(text_[at_])) refuse("a string must go on or end");
      if (text_[at_++] == '"') return;
      read_escape();
    }
  }

  static bool control(char character) { return static_cast<unsigned char>(character) < 0x20; }

  void read_escape() {
    constexpr std::string_view letters = "\"\\/bfnrt", plain = "\"\\/\b\f\n\r\t";
    if (const std::size_t which = letters.find(peek()); at_ < text_.size() && which != std::string_view::npos) {
      string_ += plain[which];
      ++at_;
      return;
    }
    if (peek() != 'u') refuse("an escape must be one of \\\" \\\\ \\/ \\b \\f \\n \\r \\t \\u");
    std::uint32_t point = read_unit();
    if (point >= 0xdc00 && point < 0xe000) refuse("half of a surrogate pair stands alone before this");
    if (point >= 0xd800 && point < 0xdc00) {
      if (text_.substr(at_, 2) != "\\u") refuse("the second half of a surrogate pair must follow");
      ++at_;
      const std::uint32_t low = read_unit();
      if (low < 0xdc00 || low >= 0xe000) refuse("half of a surrogate pair stands alone before this");
      point = 0x10000 + ((point - 0xd800) << 10) + (low - 0xdc00);
    }
    detail::append_utf8(string_, point);
  }

  //! The four digits behind the 'u' where the text stands.
  std::uint32_t read_unit() {
    ++at_;
    std::uint32_t unit = 0;
    for (int digit = 0; digit < 4; ++digit, ++at_) {
      constexpr std::string_view hex = "0123456789abcdef";
      const char character = peek() >= 'A' && peek() <= 'F' ? static_cast<char>(peek() + ('a' - 'A')) : peek();
      const std::size_t value = at_ < text_.size() ? hex.find(character) : std::string_view::npos;
      if (value == std::string_view::npos) refuse("four hexadecimal digits must follow \\u");
      unit = unit << 4 | static_cast<std::uint32_t>(value);
    }
    return unit;
  }

  std::string_view text_;
  std::size_t at_ = 0;
  std::size_t start_ = 0;  // of the last token
  State state_ = State::value;
  std::size_t depth_ = 0;
  std::bitset<deepest> is_object_;
  std::string string_;
};

}  // namespace moepar
