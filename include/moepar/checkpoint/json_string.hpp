// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <moepar/core/utf8.hpp>

namespace moepar {

//! Which characters a JSON string spells as escapes beyond those that must be. `needed` is what serde_json writes,
//! `ascii` what Python's json.dumps writes: all but space to tilde.
enum class JsonEscapes { needed, ascii };

//! Appends `text`, which must be UTF-8, to `json` as a string of JSON with its quotes.
inline void append_json_string(std::string& json, std::string_view text, JsonEscapes escapes = JsonEscapes::needed) {
  constexpr std::string_view hex = "0123456789abcdef";
  const auto unit = [&](std::uint32_t value) {
    json += "\\u";
    for (const unsigned shift : {12u, 8u, 4u, 0u}) json += hex[value >> shift & 0xf];
  };
  json += '"';
  for (std::size_t at = 0; at < text.size();) {
    const char character = text[at];
    constexpr std::string_view plain = "\"\\\b\f\n\r\t", letters = "\"\\bfnrt";
    const auto byte = static_cast<unsigned char>(character);
    if (const std::size_t which = plain.find(character); which != std::string_view::npos) {
      json += '\\';
      json += letters[which];
    } else if (byte < 0x20 || (byte == 0x7f && escapes == JsonEscapes::ascii)) {
      unit(byte);
    } else if (byte >= 0x80 && escapes == JsonEscapes::ascii) {
      const std::uint32_t point = detail::code_point(text.substr(at));
      if (point >= 0x10000) unit(0xd800 + ((point - 0x10000) >> 10));
      unit(point < 0x10000 ? point : 0xdc00 + (point & 0x3ff));
      at += detail::utf8_length(text.substr(at)) - 1;
    } else {
      json += character;
    }
    ++at;
  }
  json += '"';
}

namespace detail {

//! A name out of a file as an error shows it: quoted, escaped and cut to about 120 bytes. It must be UTF-8.
inline std::string shown_name(std::string_view name) {
  std::size_t end = 0;
  while (end < name.size() && end < 120) end += utf8_length(name.substr(end));
  std::string text;
  append_json_string(text, name.substr(0, end), JsonEscapes::ascii);
  return end == name.size() ? text : text + "...";
}

}  // namespace detail
}  // namespace moepar
