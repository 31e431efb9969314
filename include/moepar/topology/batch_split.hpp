// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/topology/layout.hpp>
#include <numeric>

namespace moepar {

//! Which granules (sequences) of a global batch a rank holds at which micro-step. `adding` consecutive ranks add
//! gradients at every micro-step; they hold one run of the batch over all micro-steps, so that what they have added so
//! far grows along the tree.
struct BatchSplit {
  Index world = 1;
  Index micro_steps = 1;
  Index adding = 1;
  Index per_rank = 1;  //!< granules of a rank and micro-step

  [[nodiscard]] constexpr Index granules() const { return world * micro_steps * per_rank; }
  [[nodiscard]] constexpr GranuleRange granules_of(Index rank, Index micro_step) const {
    const Index first = ((rank / adding * micro_steps + micro_step) * adding + rank % adding) * per_rank;
    return {first, first + per_rank};
  }
  friend constexpr bool operator==(const BatchSplit&, const BatchSplit&) = default;
};

//! The split that a layout wants: shard groups and expert groups lie within the ranks that add at every micro-step.
constexpr BatchSplit batch_split(const Layout& layout, Index per_rank, Index micro_steps) {
  const bool neighbours = layout.expert == 1 || layout.expert_axis == ExpertAxis::innermost;
  return {.world = layout.world,
          .micro_steps = micro_steps,
          .adding = neighbours ? std::lcm(layout.dense_shard, layout.expert * layout.expert_shard) : layout.world,
          .per_rank = per_rank};
}

}  // namespace moepar
