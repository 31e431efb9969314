// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/nn/rms_norm.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! h = x + Attention(norm(x)); y = h + FeedForward(norm(h)). Names follow Hugging Face: a feed-forward with experts is
//! `block_sparse_moe`, one without is `mlp`.
template <class Attention, class FeedForward> struct TransformerBlock {
  static constexpr bool valid = [] {
    if constexpr (!children_intact<Attention, FeedForward>())
      return false;
    else if constexpr (!require_attention<Attention>())
      return false;
    else if constexpr (!require_module<FeedForward>())
      return false;
    else
      return require_same_hidden_size<Attention::facts.hidden, FeedForward::facts.hidden>();
  }();
  static_assert(detail::checked<valid>);
  static constexpr ModuleFacts facts = combine(facts_of<Attention>(), facts_of<FeedForward>());

 private:
  static constexpr Index hidden_ = detail::size_or_one(facts.hidden);

 public:
  RmsNorm<hidden_> attention_norm{};
  Attention attention{};
  RmsNorm<hidden_> feed_forward_norm{};
  FeedForward feed_forward{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("input_layernorm", self.attention_norm);
    walk("self_attn", self.attention);
    walk("post_attention_layernorm", self.feed_forward_norm);
    walk(holds_experts<FeedForward> ? "block_sparse_moe" : "mlp", self.feed_forward);
  }
};

}  // namespace moepar
