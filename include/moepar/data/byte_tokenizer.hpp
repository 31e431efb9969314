// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>

namespace moepar {

//! Every byte is a token: 256 of them, any file encodes, decode(encode(text)) == text.
class ByteTokenizer {
 public:
  [[nodiscard]] static constexpr Index vocabulary() { return 256; }

  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const {
    std::vector<std::int32_t> tokens;
    tokens.reserve(text.size());
    for (const char byte : text) tokens.push_back(static_cast<unsigned char>(byte));
    return tokens;
  }

  //! Throws Error for a token outside 0..255, naming it and its place.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> tokens) const {
    std::string text;
    text.reserve(tokens.size());
    for (std::size_t place = 0; place < tokens.size(); ++place) {
      const std::int32_t token = tokens[place];
      if (token < 0 || token >= vocabulary())
        throw Error{"moepar::ByteTokenizer: cannot decode token " + std::to_string(token) + " at place " +
                    std::to_string(place) +
                    ", the tokens are 0..255. Fix: decode tokens that this tokenizer or a model of vocabulary 256 "
                    "made."};
      text.push_back(static_cast<char>(token));
    }
    return text;
  }
};

}  // namespace moepar
