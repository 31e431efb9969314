// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>

// The rules of the library as questions. Each rule is one concept over plain numbers, so that a program may ask
// (`static_assert(!moepar::degree_divides_expert_count<3, 8>)`); core/rules.hpp refuses at compile time with one
// sentence each, core/checks.hpp refuses at start with the same sentence. Written as conjunctions of plain expressions
// because g++ and clang then print the operands.
namespace moepar {

// --- degrees and the world ---

//! The largest world and the largest size of a module: their products, and the sums of a plan, stay exact.
inline constexpr Index most_ranks = Index{1} << 24;
inline constexpr Index largest_size = Index{1} << 31;

template <Index WorldSize>
concept world_has_ranks = WorldSize >= 1 && WorldSize <= most_ranks;

//! An expert group holds every expert, the same number on each of its ranks.
template <Index Degree, Index ExpertCount>
concept degree_divides_expert_count = Degree >= 1 && ExpertCount >= 1 && ExpertCount % Degree == 0;

template <Index Degree, Index WorldSize>
concept degree_divides_world_size = Degree >= 1 && WorldSize >= 1 && WorldSize % Degree == 0;

//! ShardDegree here is the number of ranks, with 0 (the whole world) already resolved.
template <Index ShardDegree, Index WorldSize>
concept shard_degree_divides_world_size = ShardDegree >= 1 && WorldSize >= 1 && WorldSize % ShardDegree == 0;

//! The ranks that hold the same experts are WorldSize / Degree; ExpertShardDegree must divide them.
template <Index Degree, Index ExpertShardDegree, Index WorldSize>
concept expert_times_shard_degree_divides_world_size =
    Degree >= 1 && ExpertShardDegree >= 1 && WorldSize >= 1 && WorldSize % Degree == 0 &&
    WorldSize / Degree % ExpertShardDegree == 0;  // two divisions: the product may overflow

//! What HybridShard takes: 0 (the whole world), 1 (none) or a number of ranks.
template <Index ShardDegree>
concept shard_degree_is_not_negative = ShardDegree >= 0;

// --- one of each in a model ---

//! Wrappers around one parameter.
template <Index Wrappers>
concept sharded_once = Wrappers <= 1;

template <Index Wrappers>
concept expert_parallel_once = Wrappers <= 1;

//! Experts around one parameter.
template <Index Depth>
concept experts_hold_no_experts = Depth <= 1;

template <Index FirstDegree, Index SecondDegree>
concept one_expert_degree_per_model = FirstDegree == SecondDegree;

template <Index FirstDegree, Index SecondDegree>
concept one_shard_degree_per_model = FirstDegree == SecondDegree;

// --- sizes inside a model ---

template <Index... Sizes>
concept sizes_are_positive = ((Sizes >= 1 && Sizes <= largest_size) && ...);

template <Index TopK, Index ExpertCount>
concept top_k_within_expert_count = TopK >= 1 && TopK <= ExpertCount;

template <Index Heads, Index Hidden>
concept heads_divide_hidden = Heads >= 1 && Hidden >= 1 && Hidden % Heads == 0;

template <Index KvHeads, Index Heads>
concept kv_heads_divide_heads = KvHeads >= 1 && Heads >= 1 && Heads % KvHeads == 0;

//! Rotary embeddings turn pairs (i, i + HeadSize / 2).
template <Index HeadSize>
concept head_size_is_even = HeadSize >= 2 && HeadSize % 2 == 0;

//! Rows have one width that the module around can know.
template <Index Hidden>
concept hidden_is_known = Hidden >= 1;

template <Index FirstHidden, Index SecondHidden>
concept same_hidden_size = FirstHidden == SecondHidden;

}  // namespace moepar
