// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>

namespace moepar {

//! Every rule between degrees and a world, one after the other: the first broken one is the error. Shard degrees are
//! numbers of ranks here. Arguments are scalars because compilers print those. checked_layout is the twin for the start
//! of a run.
template <Index WorldSize, Index ExpertDegree, Index DenseShardDegree, Index ExpertShardDegree>
consteval bool require_degrees_fit_world() {
  if constexpr (!require_world_has_ranks<WorldSize>())
    return false;
  else if constexpr (!require_degree_divides_world_size<ExpertDegree, WorldSize>())
    return false;
  else if constexpr (!require_shard_degree_divides_world_size<DenseShardDegree, WorldSize>())
    return false;
  else
    return require_expert_times_shard_degree_divides_world_size<ExpertDegree, ExpertShardDegree, WorldSize>();
}

}  // namespace moepar
