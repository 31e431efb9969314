// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/predicates.hpp>

// The rules of the library as refusals at compile time: one function each, which asserts the concept of the same name
// and returns whether it holds.
//
// Why a function: an assert in the body of a consteval function leaves the class that asks intact, so one broken rule
// is exactly one error in g++, clang and nvcc; an assert in the class itself makes clang drop the rest of the class and
// fail again further out. nvcc prints only the arguments of the asserting function, so every number of a rule is one of
// them. Why a literal: C++20 wants one. core/checks.hpp repeats it, and tools/check_sentences.py compares the two. Form
// of a sentence: "moepar::Entity: what is required. Fix: what to do."
namespace moepar {

namespace detail {
//! `static_assert(detail::checked<valid>)` in a class evaluates its rules when the class is used: a static member alone
//! is only evaluated when somebody reads it. It never fails by itself.
template <bool Valid> inline constexpr bool checked = true;
}  // namespace detail

// --- degrees and the world ---

template <Index WorldSize> consteval bool require_world_has_ranks() {
  static_assert(world_has_ranks<WorldSize>, "moepar::World: a world has 1 to 2^24 ranks. Fix: choose such a size.");
  return world_has_ranks<WorldSize>;
}

template <Index Degree, Index ExpertCount> consteval bool require_degree_divides_expert_count() {
  static_assert(degree_divides_expert_count<Degree, ExpertCount>,
                "moepar::ExpertParallel: Degree must divide the number of experts. "
                "Fix: choose a Degree that divides it, or change the number of experts.");
  return degree_divides_expert_count<Degree, ExpertCount>;
}

template <Index Degree, Index WorldSize> consteval bool require_degree_divides_world_size() {
  static_assert(degree_divides_world_size<Degree, WorldSize>,
                "moepar::ExpertParallel: Degree must divide the world size. "
                "Fix: choose a Degree that divides both the world size and the number of experts.");
  return degree_divides_world_size<Degree, WorldSize>;
}

template <Index ShardDegree, Index WorldSize> consteval bool require_shard_degree_divides_world_size() {
  static_assert(shard_degree_divides_world_size<ShardDegree, WorldSize>,
                "moepar::HybridShard: ShardDegree must divide the world size. "
                "Fix: choose a divisor of it, 0 for the whole world or 1 for no sharding.");
  return shard_degree_divides_world_size<ShardDegree, WorldSize>;
}

template <Index Degree, Index ExpertShardDegree, Index WorldSize>
consteval bool require_expert_times_shard_degree_divides_world_size() {
  static_assert(expert_times_shard_degree_divides_world_size<Degree, ExpertShardDegree, WorldSize>,
                "moepar::Deployment: expert degree times the shard degree of experts must divide the world size. "
                "Fix: lower one of them, or write HybridShard<Model, 0> to shard over the whole world.");
  return expert_times_shard_degree_divides_world_size<Degree, ExpertShardDegree, WorldSize>;
}

template <Index ShardDegree> consteval bool require_shard_degree_is_not_negative() {
  static_assert(shard_degree_is_not_negative<ShardDegree>,
                "moepar::HybridShard: a shard degree is 0 (the whole world), 1 (no sharding) or a number of ranks. "
                "Fix: write one of these.");
  return shard_degree_is_not_negative<ShardDegree>;
}

// --- one of each in a model ---

template <Index Wrappers> consteval bool require_sharded_once() {
  static_assert(sharded_once<Wrappers>,
                "moepar::HybridShard: a parameter is sharded once. Fix: remove one of the HybridShard around it.");
  return sharded_once<Wrappers>;
}

template <Index Wrappers> consteval bool require_expert_parallel_once() {
  static_assert(
      expert_parallel_once<Wrappers>,
      "moepar::ExpertParallel: experts are spread over ranks once. Fix: remove one of the ExpertParallel around them.");
  return expert_parallel_once<Wrappers>;
}

template <Index Depth> consteval bool require_experts_hold_no_experts() {
  static_assert(
      experts_hold_no_experts<Depth>,
      "moepar::Experts: an expert holds no experts of its own. Fix: use one Experts with the product of the counts.");
  return experts_hold_no_experts<Depth>;
}

template <Index FirstDegree, Index SecondDegree> consteval bool require_one_expert_degree_per_model() {
  static_assert(
      one_expert_degree_per_model<FirstDegree, SecondDegree>,
      "moepar::Deployment: all experts of a model must have the same expert degree (1 without ExpertParallel). "
      "Fix: use one Degree.");
  return one_expert_degree_per_model<FirstDegree, SecondDegree>;
}

template <Index FirstDegree, Index SecondDegree> consteval bool require_one_shard_degree_per_model() {
  static_assert(one_shard_degree_per_model<FirstDegree, SecondDegree>,
                "moepar::Deployment: every HybridShard of a model must have the same degree for one kind of parameter. "
                "Fix: use one ShardDegree and one ExpertShardDegree.");
  return one_shard_degree_per_model<FirstDegree, SecondDegree>;
}

// --- sizes inside a model ---

template <Index... Sizes> consteval bool require_sizes_are_positive() {
  static_assert(sizes_are_positive<Sizes...>,
                "moepar: every size of a module must be between 1 and 2^31. Fix: correct the number that is not.");
  return sizes_are_positive<Sizes...>;
}

template <Index TopK, Index ExpertCount> consteval bool require_top_k_within_expert_count() {
  static_assert(top_k_within_expert_count<TopK, ExpertCount>,
                "moepar::Moe: TopK must be between 1 and the number of experts. Fix: change TopK of the Router.");
  return top_k_within_expert_count<TopK, ExpertCount>;
}

template <Index Heads, Index Hidden> consteval bool require_heads_divide_hidden() {
  static_assert(heads_divide_hidden<Heads, Hidden>,
                "moepar::Attention: Heads must divide Hidden. Fix: choose a divisor of Hidden, or state HeadSize.");
  return heads_divide_hidden<Heads, Hidden>;
}

template <Index KvHeads, Index Heads> consteval bool require_kv_heads_divide_heads() {
  static_assert(kv_heads_divide_heads<KvHeads, Heads>,
                "moepar::Attention: KvHeads must divide Heads. Fix: choose a divisor of Heads.");
  return kv_heads_divide_heads<KvHeads, Heads>;
}

template <Index HeadSize> consteval bool require_head_size_is_even() {
  static_assert(head_size_is_even<HeadSize>,
                "moepar::Attention: HeadSize must be even, because rotary embeddings turn pairs. "
                "Fix: change Heads or state an even HeadSize.");
  return head_size_is_even<HeadSize>;
}

template <Index Hidden> consteval bool require_hidden_is_known() {
  static_assert(
      hidden_is_known<Hidden>,
      "moepar: rows here must have one known width. Fix: state `hidden` in the facts of the module, and end it with "
      "the width it begins with.");
  return hidden_is_known<Hidden>;
}

template <Index AttentionHidden, Index FeedForwardHidden> consteval bool require_same_hidden_size() {
  static_assert(same_hidden_size<AttentionHidden, FeedForwardHidden>,
                "moepar::TransformerBlock: attention and feed-forward must have the same hidden size. "
                "Fix: give both the same Hidden.");
  return same_hidden_size<AttentionHidden, FeedForwardHidden>;
}

}  // namespace moepar
