// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>

namespace moepar {

//! What a parameter is before training.
enum class Initial { normal, one };

//! Parameters that lie alike on the ranks: dense or of experts, whole on a rank or sharded over a group. A rank keeps
//! those of one placement behind one another.
enum class Placement { dense, dense_shard, expert, expert_shard };
inline constexpr Index placements = 4;

constexpr bool is_sharded(Placement placement) {
  return placement == Placement::dense_shard || placement == Placement::expert_shard;
}
constexpr bool is_expert(Placement placement) {
  return placement == Placement::expert || placement == Placement::expert_shard;
}

//! One tensor of a model: its global shape (row-major; a vector has one row) and, once bound, where a rank keeps it.
//! Values live with the rank: module code asks `rank.weights(parameter)` and `rank.gradient(parameter)`.
struct Parameter {
  Index rows = 1;
  Index columns = 1;
  Initial initial = Initial::normal;

  // Set by bind_parameters for one rank of one layout:
  Placement placement = Placement::dense;
  Index number = -1;  //!< in registration order; -1: not bound
  Index copies = 1;   //!< of a stack of experts, those of this rank
  Index held = 0;     //!< first element among those that the rank keeps of this placement: its shard, or all
  Index whole = 0;    //!< first element among the whole parameters of this placement

  [[nodiscard]] constexpr Index size() const { return rows * columns; }
  //! Elements of this rank's copies: what a gather brings together.
  [[nodiscard]] constexpr Index whole_size() const { return copies * size(); }
};

}  // namespace moepar
