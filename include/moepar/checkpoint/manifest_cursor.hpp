// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <charconv>
#include <cstddef>
#include <moepar/checkpoint/hash128.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

namespace moepar::detail {

//! Goes through the text of a manifest, which has one form only: what is not exactly as manifest_text writes it is an
//! Error that says where. No recursion, and no memory beyond the texts that are there.
class ManifestCursor {
 public:
  //! path: for errors. The text must outlive this.
  ManifestCursor(std::string_view text, std::string path) : text_{text}, path_{std::move(path)} {}

  [[nodiscard]] bool at_end() const { return at_ == text_.size(); }

  //! Steps over `literal` if it is next.
  bool take(std::string_view literal) {
    if (text_.substr(at_, literal.size()) != literal) return false;
    at_ += literal.size();
    return true;
  }
  void expect(std::string_view literal) {
    if (!take(literal)) refuse("has no '" + std::string{literal} + "'");
  }

  //! literal, then a number from `least` to `most`.
  Index number(std::string_view literal, Index least, Index most) {
    expect(literal);
    const Index value = digits<Index>();
    if (value < least || value > most)
      refuse("has " + std::to_string(value) + " after '" + std::string{literal} + "' where " + std::to_string(least) +
             " to " + std::to_string(most) + " is possible");
    return value;
  }
  //! A power of a number from 0 to 1.
  double power(std::string_view literal) {
    expect(literal);
    const auto value = digits<double>();
    if (!(value >= 0 && value <= 1)) refuse("has a number that is not from 0 to 1");
    return value;
  }
  //! A text in quotes.
  std::string text() {
    expect("\"");
    std::string out;
    for (;;) {
      if (at_end()) refuse("ends inside a text");
      const char character = text_[at_++];
      if (character == '"') return out;
      out += character == '\\' ? escaped() : character;
    }
  }
  Hash128 hash(std::string_view literal) {
    expect(literal);
    const std::optional<Hash128> hash = hash_of_text(text_.substr(at_, 32));
    if (!hash) refuse("has no hash of 32 digits");
    at_ += 32;
    expect("\"");
    return *hash;
  }

  //! problem: "has ...".
  [[noreturn]] void refuse(const std::string& problem) const {
    throw Error{"moepar: the manifest " + path_ + " " + problem + " (byte " + std::to_string(at_) +
                "). Fix: take another checkpoint; manifests are not made by hand."};
  }

 private:
  template <class Number> Number digits() {
    Number value{};
    const char* const begin = text_.data() + at_;
    const auto [end, error] = std::from_chars(begin, text_.data() + text_.size(), value);
    if (error != std::errc{}) refuse("has no number that fits");
    at_ += static_cast<std::size_t>(end - begin);
    return value;
  }
  char escaped() {
    constexpr std::string_view letters = "\"\\bfnrt", plain = "\"\\\b\f\n\r\t";
    if (const std::size_t which = at_end() ? letters.npos : letters.find(text_[at_]); which != letters.npos) {
      ++at_;
      return plain[which];
    }
    unsigned value = 0;
    if (take("u00") && text_.size() - at_ >= 2) {
      const char* const begin = text_.data() + at_;
      if (std::from_chars(begin, begin + 2, value, 16).ptr == begin + 2) {
        at_ += 2;
        return static_cast<char>(value);
      }
    }
    refuse("has an escape that it cannot have");
  }

  std::string_view text_;
  std::string path_;
  std::size_t at_ = 0;
};

}  // namespace moepar::detail
