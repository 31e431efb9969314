// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/random.hpp>
#include <moepar/data/keyed_permutation.hpp>

namespace moepar {

//! How a text becomes sequences.
struct BlockSettings {
  Index length = 0;                  //!< tokens of a sequence, at least 1
  Index batch = 0;                   //!< sequences of a step, over all ranks, at least 1
  double evaluation_fraction = 0.1;  //!< of the blocks, at the end of the text; 0: none, else at least one block
  std::uint64_t seed = 0;            //!< of the order of training
};

//! A token stream, owned, cut into blocks. Block b predicts tokens b * length + 1 .. (b + 1) * length, each from those
//! before it in the block: neighbours share the one token that is the last target here and the first input there, and
//! no pair of input and target lies in two blocks. The first training_blocks() blocks are for training, the others for
//! evaluation; a tail shorter than a block is left out.
//!
//! Each epoch is a random permutation of the training blocks, keyed by seed and epoch. Which blocks a step takes is a
//! function of its number alone: the same on every layout, and a resumed run needs no state but its step. A batch may
//! reach over the end of an epoch; one larger than an epoch holds blocks more than once.
class TokenBlocks {
 public:
  //! Throws Error when a setting is out of range or the tokens are too few for a training block and, where there is
  //! evaluation, an evaluation block.
  TokenBlocks(std::vector<std::int32_t> tokens, const BlockSettings& settings)
      : tokens_{std::move(tokens)},
        settings_{checked(settings)},
        blocks_{(static_cast<Index>(tokens_.size()) - 1) / settings.length},
        evaluation_blocks_{count_evaluation()},
        order_{random_key(settings.seed, "data/order"), training_blocks()} {}

  [[nodiscard]] Index length() const { return settings_.length; }
  [[nodiscard]] Index batch() const { return settings_.batch; }
  [[nodiscard]] Index blocks() const { return blocks_; }
  [[nodiscard]] Index training_blocks() const { return blocks_ - evaluation_blocks_; }
  [[nodiscard]] Index evaluation_blocks() const { return evaluation_blocks_; }

  //! Block of sequence `index`, 0..batch-1, of the global batch of `step`, which counts from 1. No allocation.
  [[nodiscard]] Index sequence(Index step, Index index) const {
    if (step < 1 || step > std::numeric_limits<Index>::max() / batch() || index < 0 || index >= batch())
      refuse("sequence " + std::to_string(index) + " of step " + std::to_string(step) + " was asked for with " +
                 std::to_string(batch()) + " sequences a step",
             "count steps from 1 and sequences from 0");
    const Index place = (step - 1) * batch() + index;
    return order_(place / training_blocks(), place % training_blocks());
  }

  //! Evaluation block `index`, 0..evaluation_blocks()-1.
  [[nodiscard]] Index evaluation(Index index) const {
    if (index < 0 || index >= evaluation_blocks_)
      refuse(
          "evaluation block " + std::to_string(index) + " of " + std::to_string(evaluation_blocks_) + " was asked for",
          "stay below evaluation_blocks(), or give a larger evaluation_fraction");
    return training_blocks() + index;
  }

  //! The `length` tokens that block `block` reads, and those that it predicts: targets[i] follows inputs[i].
  [[nodiscard]] std::span<const std::int32_t> inputs(Index block) const { return cut(block, 0); }
  [[nodiscard]] std::span<const std::int32_t> targets(Index block) const { return cut(block, 1); }

  //! All tokens that training predicts, in the order of the text, and all that evaluation predicts.
  [[nodiscard]] std::span<const std::int32_t> training_targets() const { return range(0, training_blocks()); }
  [[nodiscard]] std::span<const std::int32_t> evaluation_targets() const { return range(training_blocks(), blocks_); }

 private:
  [[noreturn]] static void refuse(std::string_view problem, std::string_view fix) {
    throw Error{"moepar::TokenBlocks: " + std::string{problem} + ". Fix: " + std::string{fix} + "."};
  }

  static BlockSettings checked(const BlockSettings& settings) {
    if (settings.length < 1 || settings.batch < 1)
      refuse("length = " + std::to_string(settings.length) + ", batch = " + std::to_string(settings.batch),
             "give at least one token a sequence and one sequence a step");
    if (!(settings.evaluation_fraction >= 0 && settings.evaluation_fraction < 1))  // NaN is refused too
      refuse("evaluation_fraction = " + std::to_string(settings.evaluation_fraction), "choose 0 <= fraction < 1");
    return settings;
  }

  [[nodiscard]] Index count_evaluation() const {
    const bool wanted = settings_.evaluation_fraction > 0;
    if (tokens_.empty() || blocks_ < (wanted ? 2 : 1))
      refuse("a text of " + std::to_string(tokens_.size()) + " tokens is too short for " +
                 (wanted ? "a training and an evaluation block of " : "a block of ") + std::to_string(length()) +
                 " + 1 tokens",
             "give a longer text or a smaller length");
    const auto share = static_cast<Index>(static_cast<double>(blocks_) * settings_.evaluation_fraction);
    return wanted ? std::clamp(share, Index{1}, blocks_ - 1) : 0;
  }

  [[nodiscard]] std::span<const std::int32_t> cut(Index block, Index shift) const {
    if (block < 0 || block >= blocks_)
      refuse("block " + std::to_string(block) + " of " + std::to_string(blocks_) + " was asked for",
             "take blocks from sequence() or evaluation()");
    return std::span{tokens_}.subspan(static_cast<std::size_t>(block * length() + shift),
                                      static_cast<std::size_t>(length()));
  }

  [[nodiscard]] std::span<const std::int32_t> range(Index first, Index last) const {
    return std::span{tokens_}.subspan(static_cast<std::size_t>(first * length() + 1),
                                      static_cast<std::size_t>((last - first) * length()));
  }

  std::vector<std::int32_t> tokens_;
  BlockSettings settings_;
  Index blocks_;
  Index evaluation_blocks_;
  KeyedPermutation order_;
};

}  // namespace moepar
