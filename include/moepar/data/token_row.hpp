// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>

namespace moepar {

//! The label of a position that no loss counts, in Hugging Face's data.
inline constexpr std::int32_t ignored_label = -100;

//! One sequence as Hugging Face's data has it, padding and all. The three are equally long.
struct TokenRow {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> mask;    //!< 1: a token, 0: padding
  std::vector<std::int32_t> labels;  //!< of the same position, not of the next: a token, or ignored_label
};

//! One sequence as a step takes it.
struct PackedRow {
  std::vector<std::int32_t> ids;      //!< tokens, no padding
  std::vector<std::int32_t> targets;  //!< targets[i] is to be predicted from ids[0..i]; -1: nothing is
  Index first = 0;                    //!< position of ids[0] in the row: the padding on its left
  Index ignored = 0;                  //!< labels that were left out, since padding would have to predict them
};

//! Drops the padding left and right of the tokens of `row` and shifts its labels: the target of a token is the label of
//! the next position of the row, as in transformers' loss, where the label of the first position counts nowhere and
//! that of the first position of the padding on the right is predicted by the last token. Labels beyond those, whose
//! position before is padding, are left out and counted in `ignored`: transformers scores them from the hidden states
//! of padding. Throws Error, its sentence starting with `place`, when the mask has a hole or no token, or the lengths
//! differ.
[[nodiscard]] inline PackedRow pack(const TokenRow& row, const std::string& place) {
  const auto refuse = [&](const std::string& problem, const std::string& fix) {
    throw Error{place + ": " + problem + ". Fix: " + fix + "."};
  };
  const std::size_t size = row.ids.size();
  if (row.mask.size() != size || row.labels.size() != size)
    refuse(std::to_string(size) + " input_ids, " + std::to_string(row.mask.size()) + " of attention_mask and " +
               std::to_string(row.labels.size()) + " labels",
           "make the three equally long");
  const auto first = std::find(row.mask.begin(), row.mask.end(), 1);
  if (first == row.mask.end())
    refuse("the row of " + std::to_string(size) + " positions has no token", "leave the row out");
  const auto last = std::find(first, row.mask.end(), 0);
  if (const auto again = std::find(last, row.mask.end(), 1); again != row.mask.end())
    refuse("attention_mask has a hole: position " + std::to_string(last - row.mask.begin()) +
               " is padding between tokens, position " + std::to_string(again - row.mask.begin()) + " is a token again",
           "put padding in front of the tokens or behind them only");

  PackedRow packed;
  packed.ids.assign(row.ids.begin() + (first - row.mask.begin()), row.ids.begin() + (last - row.mask.begin()));
  packed.first = first - row.mask.begin();
  packed.targets.reserve(packed.ids.size());
  for (std::size_t position = 0; position < size; ++position) {
    const std::int32_t next = position + 1 < size ? row.labels[position + 1] : ignored_label;
    if (row.mask[position] == 1)
      packed.targets.push_back(next == ignored_label ? -1 : next);
    else if (next != ignored_label)
      ++packed.ignored;
  }
  return packed;
}

}  // namespace moepar
