// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>

namespace moepar {
namespace detail {

//! A byte for a person: 'a', or 0x0a where it cannot be shown.
inline std::string shown_byte(unsigned char byte) {
  constexpr std::string_view digits = "0123456789abcdef";
  if (byte > ' ' && byte < 0x7f) return {'\'', static_cast<char>(byte), '\''};
  return {'0', 'x', digits[byte >> 4], digits[byte & 15]};
}

}  // namespace detail

//! The distinct bytes of one text, ascending, are the tokens: 65 of them for tiny Shakespeare. Other texts encode as
//! long as they use no other byte. Two tokenizers are equal when their characters() are: keep those beside a model.
class CharacterTokenizer {
 public:
  //! Throws Error when `text` is empty.
  explicit CharacterTokenizer(std::string_view text) {
    std::array<bool, 256> seen{};
    for (const char byte : text) seen[static_cast<unsigned char>(byte)] = true;
    token_of_.fill(-1);
    for (std::size_t byte = 0; byte < seen.size(); ++byte) {
      if (!seen[byte]) continue;
      token_of_[byte] = static_cast<std::int32_t>(characters_.size());
      characters_.push_back(static_cast<char>(byte));
    }
    if (characters_.empty())
      throw Error{
          "moepar::CharacterTokenizer: a vocabulary was to be made of an empty text. Fix: give the text to train on."};
  }

  [[nodiscard]] Index vocabulary() const { return static_cast<Index>(characters_.size()); }
  //! Byte of every token, in order of the tokens.
  [[nodiscard]] std::string_view characters() const { return characters_; }
  [[nodiscard]] bool knows(char byte) const { return token_of_[static_cast<unsigned char>(byte)] >= 0; }

  //! Throws Error for a byte that the vocabulary lacks, naming it and its place.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const {
    std::vector<std::int32_t> tokens;
    tokens.reserve(text.size());
    for (std::size_t place = 0; place < text.size(); ++place) {
      if (!knows(text[place]))
        throw Error{"moepar::CharacterTokenizer: cannot encode byte " +
                    detail::shown_byte(static_cast<unsigned char>(text[place])) + " at place " + std::to_string(place) +
                    ", it is none of the " + std::to_string(vocabulary()) +
                    " bytes of the text that the tokenizer was made from. Fix: leave it out, or use ByteTokenizer."};
      tokens.push_back(token_of_[static_cast<unsigned char>(text[place])]);
    }
    return tokens;
  }

  //! Throws Error for a token outside the vocabulary, naming it and its place.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> tokens) const {
    std::string text;
    text.reserve(tokens.size());
    for (std::size_t place = 0; place < tokens.size(); ++place) {
      const std::int32_t token = tokens[place];
      if (token < 0 || token >= vocabulary())
        throw Error{"moepar::CharacterTokenizer: cannot decode token " + std::to_string(token) + " at place " +
                    std::to_string(place) + ", the tokens are 0.." + std::to_string(vocabulary() - 1) +
                    ". Fix: decode tokens that this tokenizer or a model of its vocabulary made."};
      text.push_back(characters_[static_cast<std::size_t>(token)]);
    }
    return text;
  }

 private:
  std::array<std::int32_t, 256> token_of_{};  // -1: no token
  std::string characters_;
};

}  // namespace moepar
