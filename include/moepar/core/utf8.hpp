// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace moepar::detail {

//! How many bytes the UTF-8 character at the head of `text` has, 1 to 4; 0 where there is none: a stray or missing
//! continuation byte, more bytes than needed, a surrogate, a code point above U+10FFFF, an empty text.
constexpr std::size_t utf8_length(std::string_view text) {
  const auto byte = [&](std::size_t at) -> unsigned {
    return at < text.size() ? static_cast<unsigned char>(text[at]) : 0;  // 0 is no continuation byte
  };
  const auto continues = [&](std::size_t at) { return (byte(at) & 0xc0) == 0x80; };
  const unsigned first = byte(0), second = byte(1);
  if (text.empty()) return 0;
  if (first < 0x80) return 1;
  if (first < 0xc2 || first > 0xf4 || !continues(1)) return 0;
  if (first < 0xe0) return 2;
  if (!continues(2)) return 0;
  if (first < 0xf0) return (first == 0xe0 && second < 0xa0) || (first == 0xed && second >= 0xa0) ? 0 : 3;
  if (!continues(3) || (first == 0xf0 && second < 0x90) || (first == 0xf4 && second >= 0x90)) return 0;
  return 4;
}

//! The first byte that is not UTF-8, or npos.
constexpr std::size_t utf8_error(std::string_view text) {
  for (std::size_t at = 0; at < text.size();) {
    const std::size_t length = utf8_length(text.substr(at));
    if (length == 0) return at;
    at += length;
  }
  return std::string_view::npos;
}

//! Appends a code point, at most U+10FFFF and no surrogate, as UTF-8.
inline void append_utf8(std::string& text, std::uint32_t point) {
  const auto put = [&](std::uint32_t byte) { text += static_cast<char>(static_cast<unsigned char>(byte)); };
  if (point < 0x80) return put(point);
  if (point < 0x800) {
    put(0xc0 | point >> 6);
  } else {
    if (point < 0x10000) {
      put(0xe0 | point >> 12);
    } else {
      put(0xf0 | point >> 18);
      put(0x80 | (point >> 12 & 0x3f));
    }
    put(0x80 | (point >> 6 & 0x3f));
  }
  put(0x80 | (point & 0x3f));
}

//! The code point of the character at the head of `text`, whose utf8_length is not 0.
constexpr std::uint32_t code_point(std::string_view text) {
  const std::size_t length = utf8_length(text);
  std::uint32_t point = static_cast<unsigned char>(text[0]);
  if (length > 1) point &= 0x7fu >> length;
  for (std::size_t at = 1; at < length; ++at) point = point << 6 | (static_cast<unsigned char>(text[at]) & 0x3f);
  return point;
}

}  // namespace moepar::detail
