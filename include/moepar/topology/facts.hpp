// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <moepar/core/index.hpp>

namespace moepar {

//! Shard degree of experts that follows the one of dense parameters.
inline constexpr Index same_as_dense = -1;

//! In the `second_` facts: no second degree was met.
inline constexpr Index none_met = -2;

//! What a module tells about itself: one structural value, combined bottom-up by composition, amended by wrappers, read
//! by Deployment. A module of your own states what is not the default: usually only `hidden`.
struct ModuleFacts {
  Index hidden = 0;      //!< width of its input and output rows; 0: it takes any
  bool attends = false;  //!< mixes the positions of a sequence (an attention)

  Index expert_count = 0;                     //!< experts of a layer; 0: none inside
  Index expert_degree = 1;                    //!< ranks one set of experts is spread over
  Index second_expert_degree = none_met;      //!< another degree met in the same model
  Index expert_wrappers = 0;                  //!< ExpertParallel on the deepest path
  Index shard_degree = 1;                     //!< as written: 0 the whole world, 1 none, else ranks
  Index expert_shard_degree = same_as_dense;  //!< likewise, for experts
  Index second_shard_degree = none_met;
  Index second_expert_shard_degree = none_met;
  Index shard_wrappers = 0;  //!< HybridShard on the deepest path

  Index routed_columns = 0;      //!< sum over MoE layers of TopK x hidden: elements a token sends to experts, one way
  Index recomputed_columns = 0;  //!< the part of routed_columns that stands inside Recompute

  friend constexpr bool operator==(const ModuleFacts&, const ModuleFacts&) = default;
};

//! Facts of a module that holds both; `hidden` is the first one's where it has one.
constexpr ModuleFacts combine(ModuleFacts first, const ModuleFacts& second) {
  const auto keep_other = [](Index& kept, Index mine, Index other, Index others_second) {
    if (kept == none_met && mine != other) kept = other;
    if (kept == none_met) kept = others_second;
  };
  if (first.hidden == 0) first.hidden = second.hidden;
  first.attends = first.attends || second.attends;

  if (first.expert_count == 0) {
    first.expert_count = second.expert_count;
    first.expert_degree = second.expert_degree;
    first.second_expert_degree = second.second_expert_degree;
  } else if (second.expert_count != 0) {
    keep_other(first.second_expert_degree, first.expert_degree, second.expert_degree, second.second_expert_degree);
  }
  first.expert_wrappers = std::max(first.expert_wrappers, second.expert_wrappers);

  if (first.shard_wrappers == 0) {
    first.shard_degree = second.shard_degree;
    first.expert_shard_degree = second.expert_shard_degree;
    first.second_shard_degree = second.second_shard_degree;
    first.second_expert_shard_degree = second.second_expert_shard_degree;
  } else if (second.shard_wrappers != 0) {
    keep_other(first.second_shard_degree, first.shard_degree, second.shard_degree, second.second_shard_degree);
    keep_other(first.second_expert_shard_degree, first.expert_shard_degree, second.expert_shard_degree,
               second.second_expert_shard_degree);
  }
  first.shard_wrappers = std::max(first.shard_wrappers, second.shard_wrappers);

  first.routed_columns += second.routed_columns;
  first.recomputed_columns += second.recomputed_columns;
  return first;
}

//! Facts of `count` copies of one module in a row.
constexpr ModuleFacts repeat(ModuleFacts facts, Index count) {
  facts.routed_columns *= count;
  facts.recomputed_columns *= count;
  return facts;
}

}  // namespace moepar
