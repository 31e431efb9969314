// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/checks.hpp>
#include <moepar/core/index.hpp>
#include <moepar/plan/census.hpp>

namespace moepar {

//! Sizes of a Mixtral under the names of Hugging Face's config.json (its defaults, which are those of Mixtral 8x7B),
//! for models that only the run knows.
struct MixtralSizes {
  Index vocab_size = 32000;
  Index hidden_size = 4096;
  Index intermediate_size = 14336;
  Index num_hidden_layers = 32;
  Index num_attention_heads = 32;
  Index num_key_value_heads = 8;
  Index head_dim = 0;  //!< 0: hidden_size / num_attention_heads
  Index num_local_experts = 8;
  Index num_experts_per_tok = 2;
  bool tie_word_embeddings = false;

  friend constexpr bool operator==(const MixtralSizes&, const MixtralSizes&) = default;
};

inline constexpr MixtralSizes mixtral_8x7b{};

//! Throws Error, in the words of the compiler's refusal, when no such model can be.
constexpr void check_sizes(const MixtralSizes& sizes) {
  check_size_is_positive("vocab_size", sizes.vocab_size);
  check_size_is_positive("hidden_size", sizes.hidden_size);
  check_size_is_positive("intermediate_size", sizes.intermediate_size);
  check_size_is_positive("num_hidden_layers", sizes.num_hidden_layers);
  check_size_is_positive("num_attention_heads", sizes.num_attention_heads);
  check_size_is_positive("num_key_value_heads", sizes.num_key_value_heads);
  check_size_is_positive("num_local_experts", sizes.num_local_experts);
  check_kv_heads_divide_heads(sizes.num_key_value_heads, sizes.num_attention_heads);
  if (sizes.head_dim == 0) check_heads_divide_hidden(sizes.num_attention_heads, sizes.hidden_size);
  check_head_size_is_even(sizes.head_dim == 0 ? sizes.hidden_size / sizes.num_attention_heads : sizes.head_dim);
  check_top_k_within_expert_count(sizes.num_experts_per_tok, sizes.num_local_experts);
}

//! The census of HybridShard<CausalLm<...>> with these sizes; a test compares it with the type's.
//! recompute: every block is computed again in backward.
constexpr Census census_of(const MixtralSizes& sizes, bool recompute) {
  const Index hidden = sizes.hidden_size, layers = sizes.num_hidden_layers, experts = sizes.num_local_experts;
  const Index head = sizes.head_dim == 0 ? hidden / sizes.num_attention_heads : sizes.head_dim;
  Census census;
  const auto dense = [&](Index elements, Index count) {
    census.add({.kind = Kind::dense, .sharded = true, .elements = elements, .count = count});
  };
  dense(sizes.vocab_size * hidden, sizes.tie_word_embeddings ? 1 : 2);  // embedding, head
  if (sizes.tie_word_embeddings)
    census.add({.kind = Kind::dense, .sharded = true, .elements = sizes.vocab_size * hidden, .count = 1, .tied = true});
  dense(hidden, 2 * layers + 1);                                 // norms
  dense(sizes.num_attention_heads * head * hidden, 2 * layers);  // query, output
  dense(sizes.num_key_value_heads * head * hidden, 2 * layers);  // key, value
  dense(experts * hidden, layers);                               // gate
  census.add({.kind = Kind::expert,
              .sharded = true,
              .elements = sizes.intermediate_size * hidden,
              .copies = experts,
              .active = sizes.num_experts_per_tok,
              .count = 3 * layers});
  census.expert_count = experts;
  census.routed_columns = layers * sizes.num_experts_per_tok * hidden;
  census.recomputed_columns = recompute ? census.routed_columns : 0;
  return census;
}

}  // namespace moepar
