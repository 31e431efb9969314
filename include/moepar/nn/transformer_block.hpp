// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/nn/rms_norm.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

namespace detail {
constexpr Index width_or(Index width, Index other) { return width == any_width ? other : width; }
}  // namespace detail

//! h = x + Attention(norm(x)); y = h + FeedForward(norm(h)). Names follow Hugging Face: a feed-forward with experts is
//! `block_sparse_moe`, one without is `mlp`.
template <class Attention, class FeedForward> struct TransformerBlock {
  static constexpr bool rules_hold = [] {
    if constexpr (!children_intact<Attention, FeedForward>())
      return false;
    else if constexpr (!require_attention<Attention>())
      return false;
    else if constexpr (!require_module<FeedForward>())
      return false;
    else
      return require_same_hidden_size<Attention::facts.hidden,
                                      detail::width_or(FeedForward::facts.hidden, Attention::facts.hidden)>();
  }();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts{.hidden = facts_of<Attention>().hidden};

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
    walk(facts_of<FeedForward>().routes ? "block_sparse_moe" : "mlp", self.feed_forward);
  }
};

}  // namespace moepar
