// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/device/rank.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/nn/rms_norm.hpp>
#include <moepar/tensor/matrix.hpp>
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

  static constexpr bool computes_inside = moepar::computes<Attention>() && moepar::computes<FeedForward>();

  template <class Element> struct Record {
    typename RmsNorm<hidden_>::template Record<Element> attention_norm{}, feed_forward_norm{};
    RecordOf<Attention, Element> attention{};
    RecordOf<FeedForward, Element> feed_forward{};
  };

  //! input, output: rows x hidden; input must live until backward.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, ConstMatrix<Element> input, Matrix<Element> output,
                         Record<Element>& record) const {
    auto& arena = rank.arena();
    const auto normed = arena.template take<Element>(input.rows, hidden_);
    const auto between = arena.template take<Element>(input.rows, hidden_);
    const auto normed_again = arena.template take<Element>(input.rows, hidden_);
    attention_norm.forward(rank, input, normed, record.attention_norm);
    attention.forward(rank, normed, between, record.attention);
    rank.device().add(rank.rows(), input, between, between);
    feed_forward_norm.forward(rank, between, normed_again, record.feed_forward_norm);
    feed_forward.forward(rank, normed_again, output, record.feed_forward);
    rank.device().add(rank.rows(), between, output, output);
  }

  //! Sets input_gradient and the gradients of all inside. Its own memory is released again.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, ConstMatrix<Element> output_gradient, Matrix<Element> input_gradient,
                          const Record<Element>& record) const {
    auto& arena = rank.arena();
    const Index mark = arena.mark();
    const auto between_gradient = arena.template take<Element>(output_gradient.rows, hidden_);
    const auto inner = arena.template take<Element>(output_gradient.rows, hidden_);
    feed_forward.backward(rank, output_gradient, inner, record.feed_forward);
    feed_forward_norm.backward(rank, inner, between_gradient, record.feed_forward_norm);
    rank.device().add(rank.rows(), output_gradient, between_gradient, between_gradient);
    attention.backward(rank, between_gradient, inner, record.attention);
    attention_norm.backward(rank, inner, input_gradient, record.attention_norm);
    rank.device().add(rank.rows(), between_gradient, input_gradient, input_gradient);
    arena.release(mark);
  }
};

}  // namespace moepar
