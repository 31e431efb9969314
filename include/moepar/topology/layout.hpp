// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/topology/group.hpp>

namespace moepar {

//! Which of the two views of a world a parameter lives in: dense parameters stand on every rank of an expert group,
//! expert parameters are spread over it.
enum class Kind { dense, expert };

//! Where the expert axis lies in the numbering of ranks. `innermost`: the ranks of an expert group are neighbours, so
//! tokens travel inside a node. `outermost`: the shard groups of experts are neighbours, so parameters are gathered
//! inside a node and tokens travel between nodes. (Between the shard and the replica axis it cannot lie: the ranks that
//! add one gradient would then have no common stride.)
enum class ExpertAxis { innermost, outermost };

//! How one model lies on one world, as numbers; every group follows from it by arithmetic.
//!
//! Two views of the same ranks, axes innermost first:
//!   dense parameters   tensor, shard, replica               tensor x dense_shard x replicas           = world
//!   expert parameters  tensor, expert, shard, replica       tensor x expert x expert_shard x replicas = world
//!                      (ExpertAxis::outermost: tensor, shard, replica, expert)
//! All ranks of different tensor position apart, every rank holds other sequences: expert groups are data-parallel
//! ranks. Groups of a layout that is not legal are not defined.
struct Layout {
  Index world = 1;
  Index tensor = 1;
  Index expert = 1;
  Index dense_shard = 1;
  Index expert_shard = 1;
  ExpertAxis expert_axis = ExpertAxis::innermost;

  //! Every degree is at least 1 and both products divide the world.
  [[nodiscard]] constexpr bool legal() const {
    return world >= 1 && detail::divides(tensor, world) && detail::divides(dense_shard, world / tensor) &&
           detail::divides(expert, world / tensor) && detail::divides(expert_shard, world / tensor / expert);
  }

  [[nodiscard]] constexpr Index shard_degree(Kind kind) const {
    return kind == Kind::dense ? dense_shard : expert_shard;
  }
  //! Ranks whose copies of one parameter add up to its gradient; each holds 1 / shard_degree of it.
  [[nodiscard]] constexpr Index gradient_degree(Kind kind) const {
    return kind == Kind::dense ? world / tensor : world / tensor / expert;
  }
  [[nodiscard]] constexpr Index replica_degree(Kind kind) const { return gradient_degree(kind) / shard_degree(kind); }

  //! Ranks that hold the slices of one matrix product.
  [[nodiscard]] constexpr Group tensor_group(Index rank) const { return along(rank, 1, tensor); }

  //! Ranks that together hold every expert once: tokens are exchanged here.
  [[nodiscard]] constexpr Group expert_group(Index rank) const {
    return along(rank, expert_axis == ExpertAxis::innermost ? tensor : world / expert, expert);
  }

  //! Ranks that share one copy of a parameter: it is gathered and its gradient is reduced here.
  [[nodiscard]] constexpr Group shard_group(Kind kind, Index rank) const {
    return along(rank, shard_stride(kind), shard_degree(kind));
  }

  //! Ranks that hold the same shard: their gradients are added after those of the shard groups.
  [[nodiscard]] constexpr Group replica_group(Kind kind, Index rank) const {
    return along(rank, shard_stride(kind) * shard_degree(kind), replica_degree(kind));
  }

  //! Shard and replica axis together: all ranks that add to the gradient of one parameter.
  [[nodiscard]] constexpr Group gradient_group(Kind kind, Index rank) const {
    return along(rank, shard_stride(kind), gradient_degree(kind));
  }

  friend constexpr bool operator==(const Layout&, const Layout&) = default;

 private:
  [[nodiscard]] constexpr Index shard_stride(Kind kind) const {
    return kind == Kind::expert && expert_axis == ExpertAxis::innermost ? tensor * expert : tensor;
  }
  [[nodiscard]] static constexpr Group along(Index rank, Index stride, Index size) {
    return {.size = size, .rank = rank / stride % size, .stride = stride};
  }
};

}  // namespace moepar
