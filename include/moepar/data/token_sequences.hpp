// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/line_reader.hpp>
#include <moepar/data/token_file.hpp>
#include <moepar/data/token_row.hpp>
#include <moepar/data/token_row_reader.hpp>

namespace moepar {

//! The sequences of a file of training data: JSON lines as Hugging Face's tools write them (token_row_reader.hpp), or
//! blocks (token_file.hpp). Padding is dropped and labels are shifted (token_row.hpp); what is left lies in memory
//! without gaps, 8 bytes a token, and the file is read a line or block at a time.
class TokenSequences {
 public:
  struct Sequence {
    std::span<const std::int32_t> ids;      //!< at least one
    std::span<const std::int32_t> targets;  //!< targets[i] follows ids[i]; -1: nothing is to be predicted
    Index first = 0;                        //!< position of ids[0] in its row: the padding on its left
  };

  //! Which of the two a file is, its first bytes say. `vocabulary` is 1..2^31. Blank lines may stand at the end only:
  //! elsewhere they are where something got lost. Throws Error, with file and line, for the first line that is not as
  //! it must be, for one longer than 64 MiB without reading on, and when the file cannot be read or has no line.
  TokenSequences(const std::string& path, Index vocabulary) {
    if (vocabulary < 1 || vocabulary > Index{1} << 31)
      throw Error{"moepar::TokenSequences: a vocabulary of " + std::to_string(vocabulary) + " for '" + path +
                  "'. Fix: give the vocabulary of the model, 1..2^31."};
    if (is_token_file(path)) {
      const TokenFile blocks{path};
      for (Index block = 0; block < blocks.size(); ++block) add(TokenSequences{blocks.block(block), vocabulary});
      require_some(path);
      return;
    }
    detail::LineReader lines{path, "moepar::TokenSequences", 64_MiB};
    std::string blank;  // the place of the first blank line
    while (const std::optional<std::string_view> line = lines.next()) {
      if (line->find_first_not_of(" \t\r") == std::string_view::npos) {
        if (blank.empty()) blank = lines.place();
        continue;
      }
      if (!blank.empty())
        throw Error{"moepar::TokenSequences: " + blank +
                    ": the line is blank and others follow. Fix: remove it, or write what is missing."};
      const std::string place = "moepar::TokenSequences: " + lines.place();
      const TokenRow row = read_token_row(*line, vocabulary, place);
      add(pack(row, place), static_cast<Index>(row.ids.size()));
    }
    require_some(path);
  }

  //! One sequence without padding, to predict each token from those before it. Throws Error for an id outside of the
  //! vocabulary.
  TokenSequences(const std::vector<std::int32_t>& ids, Index vocabulary) {
    for (const std::int32_t id : ids)
      if (id < 0 || id >= vocabulary)
        throw Error{"moepar::TokenSequences: the id " + std::to_string(id) + " in a vocabulary of " +
                    std::to_string(vocabulary) + ". Fix: use the tokenizer that belongs to the model."};
    const std::string place = "moepar::TokenSequences: the ids given";
    add(pack({.ids = ids, .mask = std::vector<std::int32_t>(ids.size(), 1), .labels = ids}, place),
        static_cast<Index>(ids.size()));
  }

  [[nodiscard]] Index size() const { return static_cast<Index>(starts_.size()) - 1; }  //!< sequences

  //! Sequence `index`, 0..size()-1; the spans live as long as this object.
  [[nodiscard]] Sequence sequence(Index index) const {
    if (index < 0 || index >= size())
      throw Error{"moepar::TokenSequences: sequence " + std::to_string(index) + " of " + std::to_string(size()) +
                  " was asked for. Fix: stay below size()."};
    const std::size_t first = starts_[static_cast<std::size_t>(index)];
    const std::size_t count = starts_[static_cast<std::size_t>(index) + 1] - first;
    return {std::span{ids_}.subspan(first, count), std::span{targets_}.subspan(first, count),
            firsts_[static_cast<std::size_t>(index)]};
  }

  [[nodiscard]] Index tokens() const { return static_cast<Index>(ids_.size()); }  //!< of all sequences
  [[nodiscard]] Index longest() const { return longest_; }                        //!< tokens of the longest one
  [[nodiscard]] Index longest_row() const { return longest_row_; }                //!< the same with its padding
  [[nodiscard]] Index targets() const { return count_; }    //!< tokens to be predicted, over all sequences
  [[nodiscard]] Index ignored() const { return ignored_; }  //!< labels that only padding could predict, left out

 private:
  void require_some(const std::string& path) const {
    if (size() == 0)
      throw Error{"moepar::TokenSequences: '" + path + "' has no sequence. Fix: name a file with lines in it."};
  }
  void add(const TokenSequences& other) {
    for (Index i = 0; i < other.size(); ++i) {
      const Sequence row = other.sequence(i);
      add({.ids = {row.ids.begin(), row.ids.end()}, .targets = {row.targets.begin(), row.targets.end()}},
          other.longest_row());
    }
  }
  void add(const PackedRow& row, Index positions) {
    firsts_.push_back(row.first);
    longest_row_ = std::max(longest_row_, positions);
    ids_.insert(ids_.end(), row.ids.begin(), row.ids.end());
    targets_.insert(targets_.end(), row.targets.begin(), row.targets.end());
    starts_.push_back(ids_.size());
    longest_ = std::max(longest_, static_cast<Index>(row.ids.size()));
    count_ += static_cast<Index>(row.targets.size()) - std::count(row.targets.begin(), row.targets.end(), -1);
    ignored_ += row.ignored;
  }

  std::vector<std::int32_t> ids_, targets_;
  std::vector<std::size_t> starts_{0};  // of every sequence, and the end
  std::vector<Index> firsts_;           // padding on the left
  Index longest_row_ = 0, longest_ = 0, count_ = 0, ignored_ = 0;
};

}  // namespace moepar
