// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/precision.hpp>
#include <span>

namespace moepar {

//! What a rank is given in one step.
struct StepShape {
  Index sequences = 1;  //!< a rank and micro-step
  Index length = 1;     //!< most tokens of a sequence
  Precision precision = Precision::f32;
  Index micro_steps = 1;
  Index receive_rows = 0;             //!< most rows that a rank's experts take at once; 0: all that can come
  std::array<Index, 8> factors = {};  //!< of the tree over the sequences of the global batch; zeros: its primes

  [[nodiscard]] constexpr Index tokens() const { return sequences * length; }

  //! The tree over the `granules` sequences of the global batch.
  [[nodiscard]] constexpr GranuleTree tree(Index granules) const {
    std::size_t given = 0;
    while (given < factors.size() && factors[given] != 0) ++given;
    return given == 0 ? GranuleTree{granules} : GranuleTree{granules, std::span{factors}.first(given)};
  }
};

//! The shape of a step over `batch` sequences on `world` ranks, whatever does not divide: the last ranks then hold
//! fewer. The tree over the sequences is that of the batch alone, so the bits are the same in every world.
constexpr StepShape shape_of_batch(Index batch, Index length, Index world, Index micro_steps = 1) {
  const Index parts = world * micro_steps, each = batch <= 0 ? 1 : (batch + parts - 1) / parts;
  StepShape shape{.sequences = each, .length = length, .micro_steps = micro_steps};
  shape.factors[0] = each * parts;  // one factor: sequences behind the last add nothing to any node
  return shape;
}

}  // namespace moepar
