// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <sentencepiece_processor.h>

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/text_file.hpp>

namespace moepar {

//! The tokenizer of a `tokenizer.model` (SentencePiece), as Mixtral and Llama have it; needs the library of that name,
//! 0.1.97 or later. Texts that spell a control token, such as "</s>", are plain text here, where Hugging Face's
//! tokenizer makes the token of them. Bytes that are not UTF-8 become U+FFFD. Threads may share one object.
class SentencePieceTokenizer {
 public:
  //! Throws Error when the file cannot be read, is empty, is no model, or its model lacks the tokens that open and end
  //! a text.
  explicit SentencePieceTokenizer(const std::string& path) {
    const auto status = model_.LoadFromSerializedProto(read_text(path));
    if (!status.ok() || model_.GetPieceSize() < 1)
      throw Error{"moepar::SentencePieceTokenizer: '" + path +
                  "' is no SentencePiece model: " + (status.ok() ? std::string{"it has no piece"} : status.ToString()) +
                  ". Fix: give the tokenizer.model of a Mixtral or Llama, not its tokenizer.json."};
    if (bos() < 0 || eos() < 0)
      throw Error{"moepar::SentencePieceTokenizer: '" + path +
                  "' has no token that opens or ends a text. Fix: give the tokenizer.model of a Mixtral or Llama."};
  }

  [[nodiscard]] Index vocabulary() const { return model_.GetPieceSize(); }
  [[nodiscard]] std::int32_t bos() const { return model_.bos_id(); }  //!< opens a text, `<s>`
  [[nodiscard]] std::int32_t eos() const { return model_.eos_id(); }  //!< ends a text, `</s>`

  //! The tokens of `text` behind the one that opens a text; no token ends them. An empty text gives that one alone, as
  //! with Hugging Face. The library takes about 100 times the room of the text meanwhile: encode long texts in rows.
  //! Throws Error when it refuses the text.
  [[nodiscard]] std::vector<std::int32_t> encode(std::string_view text) const {
    std::vector<int> tokens;
    const auto status = model_.Encode({text.data(), text.size()}, &tokens);
    if (!status.ok())
      throw Error{"moepar::SentencePieceTokenizer: cannot encode a text of " + std::to_string(text.size()) +
                  " bytes: " + status.ToString() + ". Fix: encode it in parts."};
    tokens.insert(tokens.begin(), bos());
    return tokens;
  }

  //! The text of `tokens`; those that open and end a text are left out. Throws Error for a token outside the
  //! vocabulary, naming it and its place.
  [[nodiscard]] std::string decode(std::span<const std::int32_t> tokens) const {
    for (std::size_t place = 0; place < tokens.size(); ++place)
      if (tokens[place] < 0 || tokens[place] >= vocabulary())
        throw Error{"moepar::SentencePieceTokenizer: cannot decode token " + std::to_string(tokens[place]) +
                    " at place " + std::to_string(place) + ", the tokens are 0.." + std::to_string(vocabulary() - 1) +
                    ". Fix: decode tokens that this tokenizer or a model of its vocabulary made."};
    std::string text;
    const auto status = model_.Decode(std::vector<int>{tokens.begin(), tokens.end()}, &text);
    if (!status.ok())
      throw Error{"moepar::SentencePieceTokenizer: cannot decode " + std::to_string(tokens.size()) +
                  " tokens: " + status.ToString() + ". Fix: decode them in parts."};
    return text;
  }

 private:
  sentencepiece::SentencePieceProcessor model_;
};

}  // namespace moepar
