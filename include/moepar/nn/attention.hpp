// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/device/rank.hpp>
#include <moepar/nn/linear.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! Causal attention with rotary positions and grouped queries (Ainslie et al. 2023): Heads query heads share KvHeads
//! key and value heads. HeadSize 0 means Hidden / Heads, which must then be whole.
template <Index Hidden, Index Heads, Index KvHeads = Heads, Index HeadSize = 0> struct Attention {
  static constexpr Index head_size = HeadSize == 0 ? detail::quotient_or_one(Hidden, Heads) : HeadSize;

  static constexpr bool rules_hold = [] {
    if constexpr (!require_sizes_are_positive<Hidden, Heads, KvHeads>())
      return false;
    else if constexpr (!kv_heads_divide_heads<KvHeads, Heads>)
      return require_kv_heads_divide_heads<KvHeads, Heads>();
    else if constexpr (HeadSize == 0 && !heads_divide_hidden<Heads, Hidden>)
      return require_heads_divide_hidden<Heads, Hidden>();
    else if constexpr (!require_head_size_is_even<head_size>())
      return false;
    else
      return require_sizes_are_positive<head_size, Heads * head_size>();
  }();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts{.hidden = Hidden, .attends = true};

 private:
  static constexpr Index hidden_ = detail::size_or_one(Hidden);
  static constexpr Index query_columns_ =
      detail::size_or_one(detail::size_or_one(Heads) * detail::size_or_one(head_size));
  static constexpr Index kv_columns_ =
      detail::size_or_one(detail::size_or_one(KvHeads) * detail::size_or_one(head_size));

 public:
  Linear<hidden_, query_columns_> query{};
  Linear<hidden_, kv_columns_> key{};
  Linear<hidden_, kv_columns_> value{};
  Linear<query_columns_, hidden_> output{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("q_proj", self.query);
    walk("k_proj", self.key);
    walk("v_proj", self.value);
    walk("o_proj", self.output);
  }

  template <class Element> struct Record {
    Matrix<const Element> input{};
    Matrix<Element> query{}, key{}, value{}, context{};
    Matrix<Element> log_sum_exp{};  //!< rows x Heads
  };

  //! input, output: rows x Hidden. Rows are positions of sequences (the granules of rank.rows()), which attend to
  //! themselves and to earlier positions of their own sequence. input must live until backward.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, ConstMatrix<Element> input, Matrix<Element> out, Record<Element>& record) const {
    auto& arena = rank.arena();
    const Index rows = input.rows;
    record = {.input = input,
              .query = arena.template take<Element>(rows, query_columns_),
              .key = arena.template take<Element>(rows, kv_columns_),
              .value = arena.template take<Element>(rows, kv_columns_),
              .context = arena.template take<Element>(rows, query_columns_),
              .log_sum_exp = arena.template take<Element>(rows, Heads)};
    auto& device = rank.device();
    device.multiply(rank.rows(), input, rank.weights(query.weight), record.query);
    device.multiply(rank.rows(), input, rank.weights(key.weight), record.key);
    device.multiply(rank.rows(), input, rank.weights(value.weight), record.value);
    const auto table = rank.rotary(head_size);
    device.rotate(rank.rows(), record.query, table, /*inverse=*/false);
    device.rotate(rank.rows(), record.key, table, /*inverse=*/false);
    device.attention(rank.rows(), rank.shape().length, record.query, record.key, record.value, Heads, KvHeads,
                     record.context, record.log_sum_exp);
    device.multiply(rank.rows(), record.context, rank.weights(output.weight), out);
  }

  //! Sets input_gradient and the gradients of the four matrices. Its own memory is released again.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, ConstMatrix<Element> out_gradient, Matrix<Element> input_gradient,
                          const Record<Element>& record) const {
    auto& arena = rank.arena();
    auto& device = rank.device();
    const Index mark = arena.mark(), rows = out_gradient.rows;
    const auto context_gradient = arena.template take<Element>(rows, query_columns_);
    const auto query_gradient = arena.template take<Element>(rows, query_columns_);
    const auto key_gradient = arena.template take<Element>(rows, kv_columns_);
    const auto value_gradient = arena.template take<Element>(rows, kv_columns_);
    output.backward(rank, out_gradient, context_gradient, {.input = record.context});
    device.attention_backward(rank.rows(), rank.shape().length, record.query, record.key, record.value, record.context,
                              record.log_sum_exp, context_gradient, Heads, KvHeads, query_gradient, key_gradient,
                              value_gradient);
    const auto table = rank.rotary(head_size);
    device.rotate(rank.rows(), query_gradient, table, /*inverse=*/true);
    device.rotate(rank.rows(), key_gradient, table, /*inverse=*/true);
    query.backward(rank, query_gradient, input_gradient, {.input = record.input});
    key.backward(rank, key_gradient, input_gradient, {.input = record.input}, /*onto=*/true);
    value.backward(rank, value_gradient, input_gradient, {.input = record.input}, /*onto=*/true);
    arena.release(mark);
  }
};

}  // namespace moepar
