// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>

namespace moepar {

struct GroupSettings {
  Index block = 2048;  //!< tokens of a block, at least 1
  Index batch = 1000;  //!< rows that are joined; 0: all of them
};

//! Rows of tokens become blocks of equal length by the rule of `group_texts` in Hugging Face's run_clm.py under
//! `map(batched=True)`: the rows of one map batch are joined, cut into blocks, and the tail shorter than a block is
//! dropped, once a batch. The attention mask of a block is all ones and its labels are its ids. Blocks are the same as
//! Hugging Face's when the batch is (1000 there by default). Memory is one block, whatever the batch.
class GroupTexts {
 public:
  //! Throws Error when a setting is out of range.
  explicit GroupTexts(GroupSettings settings = {}) : settings_{settings} {
    if (settings.block < 1 || settings.block > Index{1} << 31 || settings.batch < 0)
      throw Error{"moepar::GroupTexts: block = " + std::to_string(settings.block) +
                  ", batch = " + std::to_string(settings.batch) +
                  ". Fix: give a block of 1..2^31 tokens and a batch of at least 1 row, or 0 for all rows at once."};
  }

  //! Takes the tokens of the next row; calls emit(std::span<const std::int32_t>) for each block that is full, valid
  //! during the call.
  template <class Emit> void add(std::span<const std::int32_t> row, Emit&& emit) {
    if (settings_.batch > 0 && rows_ > 0 && rows_ % settings_.batch == 0) finish();
    ++rows_;
    ids_ += static_cast<Index>(row.size());
    const auto block = static_cast<std::size_t>(settings_.block);
    while (!row.empty()) {
      const std::size_t count = std::min(row.size(), block - open_.size());
      open_.insert(open_.end(), row.begin(), row.begin() + static_cast<std::ptrdiff_t>(count));
      row = row.subspan(count);
      if (open_.size() < block) break;
      ++blocks_;
      emit(std::span<const std::int32_t>{open_});
      open_.clear();
    }
  }

  //! Drops what is left of the last batch: call it after the last row, before the counts are read.
  void finish() {
    dropped_ += static_cast<Index>(open_.size());
    open_.clear();
  }

  [[nodiscard]] Index rows() const { return rows_; }
  [[nodiscard]] Index ids() const { return ids_; }          //!< tokens of all rows
  [[nodiscard]] Index blocks() const { return blocks_; }    //!< emitted
  [[nodiscard]] Index dropped() const { return dropped_; }  //!< tokens in no block: ids - blocks * block

 private:
  GroupSettings settings_;
  std::vector<std::int32_t> open_;  // shorter than a block between calls
  Index rows_ = 0, ids_ = 0, blocks_ = 0, dropped_ = 0;
};

}  // namespace moepar
