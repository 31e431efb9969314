// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>
#include <string_view>

namespace moepar::detail {

//! A text that nobody vouches for, quoted in a sentence: on one line, without control characters, its first 60 bytes.
inline std::string shown_text(std::string_view text) {
  std::string result = "'";
  for (const char character : text.substr(0, 60))
    result += static_cast<unsigned char>(character) < 0x20 || character == 0x7f ? '?' : character;
  return result + (text.size() > 60 ? "...'" : "'");
}

}  // namespace moepar::detail
