// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/plan/census.hpp>
#include <moepar/plan/state.hpp>
#include <moepar/tensor/precision.hpp>
#include <moepar/topology/resolve.hpp>
#include <optional>

namespace moepar {

//! Calls visit(shard) for every shard degree that is legal for `expert_degree` on `world_size` ranks, smallest shards
//! last: 1, the divisors that leave room for the expert degree, and 0 (the whole world) where that differs from the
//! last of them. Stops when visit returns true and then returns true.
template <class Visitor> constexpr bool any_shard_degree(Index world_size, Index expert_degree, Visitor&& visit) {
  if (!detail::divides(expert_degree, world_size)) return false;
  const Index most = world_size / expert_degree;
  Index divisor = 1;  // pairs (d, most / d): the square root bounds the steps of a constant expression
  for (; divisor * divisor <= most; ++divisor)
    if (detail::divides(divisor, most) && visit(divisor)) return true;
  while (--divisor >= 1)
    if (detail::divides(divisor, most) && divisor * divisor != most && visit(most / divisor)) return true;
  return expert_degree > 1 && visit(Index{0});
}

//! The smallest shard degree with which a rank's state (parameters, gradients, optimizer) fits `bytes`, as a user would
//! write it (0: the whole world); none when even that does not fit. Only parameters inside a HybridShard shrink.
constexpr std::optional<Index> smallest_shard_degree_that_fits(const Census& census, Index world_size,
                                                               Index expert_degree, Index bytes, Precision precision) {
  std::optional<Index> found;
  any_shard_degree(world_size, expert_degree, [&](Index shard) {
    const Layout layout = layout_of({.expert = expert_degree, .shard = shard}, world_size);
    if (state_of_rank(census, layout, precision).total() <= bytes) found = shard;
    return found.has_value();
  });
  return found;
}

}  // namespace moepar
