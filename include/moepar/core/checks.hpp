// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <initializer_list>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/predicates.hpp>
#include <string>
#include <string_view>

// The rules of core/rules.hpp for numbers that only the run knows (a launcher's world size, a flag, a config.json): one
// function each, which throws moepar::Error with the sentence of its compile-time twin and the numbers in it.
// tools/check_sentences.py compares the sentences, a test compares the verdicts.
namespace moepar {
namespace detail {

struct NamedNumber {
  std::string_view name;
  Index value;
};

//! Throws `sentence` with "(name = value, ...)" placed before its " Fix:".
[[noreturn]] inline void refuse(std::string_view sentence, std::initializer_list<NamedNumber> numbers,
                                std::source_location where) {
  const auto end = sentence.find(". Fix:");
  std::string text{sentence.substr(0, end)};
  std::string_view before = " (";
  for (const auto& number : numbers) {
    text += std::string{before} + std::string{number.name} + " = " + std::to_string(number.value);
    before = ", ";
  }
  text += ')';
  if (end != std::string_view::npos) text += sentence.substr(end);
  throw Error{text, where};
}

}  // namespace detail

constexpr void check_world_has_ranks(Index world_size, std::source_location where = std::source_location::current()) {
  if (world_size >= 1 && world_size <= most_ranks) return;
  detail::refuse("moepar::World: a world has 1 to 2^24 ranks. Fix: choose such a size.", {{"WorldSize", world_size}},
                 where);
}

constexpr void check_degree_divides_expert_count(Index degree, Index expert_count,
                                                 std::source_location where = std::source_location::current()) {
  if (expert_count >= 1 && detail::divides(degree, expert_count)) return;
  detail::refuse(
      "moepar::ExpertParallel: Degree must divide the number of experts. "
      "Fix: choose a Degree that divides it, or change the number of experts.",
      {{"Degree", degree}, {"ExpertCount", expert_count}}, where);
}

constexpr void check_degree_divides_world_size(Index degree, Index world_size,
                                               std::source_location where = std::source_location::current()) {
  if (world_size >= 1 && detail::divides(degree, world_size)) return;
  detail::refuse(
      "moepar::ExpertParallel: Degree must divide the world size. "
      "Fix: choose a Degree that divides both the world size and the number of experts.",
      {{"Degree", degree}, {"WorldSize", world_size}}, where);
}

constexpr void check_shard_degree_divides_world_size(Index shard_degree, Index world_size,
                                                     std::source_location where = std::source_location::current()) {
  if (world_size >= 1 && detail::divides(shard_degree, world_size)) return;
  detail::refuse(
      "moepar::HybridShard: ShardDegree must divide the world size. "
      "Fix: choose a divisor of it, 0 for the whole world or 1 for no sharding.",
      {{"ShardDegree", shard_degree}, {"WorldSize", world_size}}, where);
}

constexpr void check_expert_times_shard_degree_divides_world_size(
    Index degree, Index expert_shard_degree, Index world_size,
    std::source_location where = std::source_location::current()) {
  // One division after the other: the product of two numbers from outside may overflow.
  if (world_size >= 1 && detail::divides(degree, world_size) &&
      detail::divides(expert_shard_degree, world_size / degree))
    return;
  detail::refuse(
      "moepar::Deployment: expert degree times the shard degree of experts must divide the world size. "
      "Fix: lower one of them, or write HybridShard<Model, 0> to shard over the whole world.",
      {{"Degree", degree}, {"ExpertShardDegree", expert_shard_degree}, {"WorldSize", world_size}}, where);
}

constexpr void check_shard_degree_is_not_negative(Index shard_degree,
                                                  std::source_location where = std::source_location::current()) {
  if (shard_degree >= 0) return;
  detail::refuse(
      "moepar::HybridShard: a shard degree is 0 (the whole world), 1 (no sharding) or a number of ranks. "
      "Fix: write one of these.",
      {{"ShardDegree", shard_degree}}, where);
}

constexpr void check_top_k_within_expert_count(Index top_k, Index expert_count,
                                               std::source_location where = std::source_location::current()) {
  if (top_k >= 1 && top_k <= expert_count) return;
  detail::refuse("moepar::Moe: TopK must be between 1 and the number of experts. Fix: change TopK of the Router.",
                 {{"TopK", top_k}, {"ExpertCount", expert_count}}, where);
}

constexpr void check_heads_divide_hidden(Index heads, Index hidden,
                                         std::source_location where = std::source_location::current()) {
  if (hidden >= 1 && detail::divides(heads, hidden)) return;
  detail::refuse("moepar::Attention: Heads must divide Hidden. Fix: choose a divisor of Hidden, or state HeadSize.",
                 {{"Heads", heads}, {"Hidden", hidden}}, where);
}

constexpr void check_kv_heads_divide_heads(Index kv_heads, Index heads,
                                           std::source_location where = std::source_location::current()) {
  if (heads >= 1 && detail::divides(kv_heads, heads)) return;
  detail::refuse("moepar::Attention: KvHeads must divide Heads. Fix: choose a divisor of Heads.",
                 {{"KvHeads", kv_heads}, {"Heads", heads}}, where);
}

constexpr void check_head_size_is_even(Index head_size, std::source_location where = std::source_location::current()) {
  if (head_size >= 2 && head_size % 2 == 0) return;
  detail::refuse(
      "moepar::Attention: HeadSize must be even, because rotary embeddings turn pairs. "
      "Fix: change Heads or state an even HeadSize.",
      {{"HeadSize", head_size}}, where);
}

//! No twin: only the run knows what a launcher started.
constexpr void check_launched_ranks_are_world_size(Index launched_ranks, Index world_size,
                                                   std::source_location where = std::source_location::current()) {
  if (launched_ranks == world_size) return;
  detail::refuse(
      "moepar::Deployment: the launcher must start as many ranks as World says. "
      "Fix: change one of the two numbers.",
      {{"LaunchedRanks", launched_ranks}, {"WorldSize", world_size}}, where);
}

//! `what` names the number as its owner knows it (a flag, a key of config.json).
constexpr void check_size_is_positive(std::string_view what, Index size,
                                      std::source_location where = std::source_location::current()) {
  if (size >= 1 && size <= largest_size) return;
  detail::refuse("moepar: every size of a module must be between 1 and 2^31. Fix: correct the number that is not.",
                 {{what, size}}, where);
}

}  // namespace moepar
