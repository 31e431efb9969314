// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/checks.hpp>
#include <moepar/core/index.hpp>
#include <moepar/topology/layout.hpp>

namespace moepar {

//! Shard degree of experts that follows the one of dense parameters.
inline constexpr Index same_as_dense = -1;

//! Degrees as a user writes them. shard: 0 the whole world, 1 none, 2..W that many ranks (hybrid_shard_degree of Amazon
//! SageMaker's model parallel library); expert_shard: the same for experts, or same_as_dense.
struct Degrees {
  Index expert = 1;
  Index shard = 1;
  Index expert_shard = same_as_dense;
};

//! Ranks that `shard` means for dense parameters. A world of 0 ranks stays 0.
constexpr Index resolve_shard_degree(Index shard, Index world_size) { return shard == 0 ? world_size : shard; }

//! Ranks that `degrees` means for expert parameters: the whole world is shared by `expert` ranks a copy, so 0 means
//! world / expert.
constexpr Index resolve_expert_shard_degree(const Degrees& degrees, Index world_size) {
  const Index asked = degrees.expert_shard == same_as_dense ? degrees.shard : degrees.expert_shard;
  return asked == 0 ? detail::quotient_or_one(world_size, degrees.expert) : asked;
}

//! The layout of degrees that are known to be legal; make no other use of it when they are not.
constexpr Layout layout_of(const Degrees& degrees, Index world_size, ExpertAxis axis = ExpertAxis::innermost) {
  return {.world = world_size,
          .expert = degrees.expert,
          .dense_shard = resolve_shard_degree(degrees.shard, world_size),
          .expert_shard = resolve_expert_shard_degree(degrees, world_size),
          .expert_axis = axis};
}

//! The layout of degrees or a world size that only the run knows. Throws moepar::Error, in the words of the compiler's
//! refusal, when they do not fit. expert_count 0: a model without experts, whose expert degree must be 1.
constexpr Layout checked_layout(const Degrees& degrees, Index world_size, Index expert_count,
                                ExpertAxis axis = ExpertAxis::innermost,
                                std::source_location where = std::source_location::current()) {
  check_world_has_ranks(world_size, where);
  check_shard_degree_is_not_negative(degrees.shard, where);
  if (degrees.expert_shard != same_as_dense) check_shard_degree_is_not_negative(degrees.expert_shard, where);
  if (expert_count != 0 || degrees.expert != 1) check_degree_divides_expert_count(degrees.expert, expert_count, where);
  check_degree_divides_world_size(degrees.expert, world_size, where);
  const Layout layout = layout_of(degrees, world_size, axis);
  check_shard_degree_divides_world_size(layout.dense_shard, world_size, where);
  check_expert_times_shard_degree_divides_world_size(layout.expert, layout.expert_shard, world_size, where);
  return layout;
}

}  // namespace moepar
