// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/device/rank.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! Feed-forward W2 (silu(W1 x) * W3 x) without biases (Shazeer 2020): rows of Hidden elements to rows of Hidden
//! elements.
template <Index Hidden, Index Intermediate> struct SwiGlu {
  static constexpr bool rules_hold = require_sizes_are_positive<Hidden, Intermediate>();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts{.hidden = Hidden};

 private:
  static constexpr Index hidden_ = detail::size_or_one(Hidden), intermediate_ = detail::size_or_one(Intermediate);

 public:
  Parameter gate{intermediate_, hidden_};
  Parameter down{hidden_, intermediate_};
  Parameter up{intermediate_, hidden_};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("w1.weight", self.gate);
    walk("w2.weight", self.down);
    walk("w3.weight", self.up);
  }

  //! What backward needs of forward.
  template <class Element> struct Record {
    Matrix<const Element> input{};
    Matrix<Element> gate{}, up{}, product{};
  };

  //! input, output: rows x Hidden. input must live until backward; the record's own memory is taken from the arena.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, ConstMatrix<Element> input, Matrix<Element> output,
                         Record<Element>& record) const {
    const auto w1 = rank.weights(gate), w2 = rank.weights(down), w3 = rank.weights(up);
    record = {.input = input,
              .gate = rank.arena().template take<Element>(input.rows, gate.rows),
              .up = rank.arena().template take<Element>(input.rows, up.rows),
              .product = rank.arena().template take<Element>(input.rows, gate.rows)};
    const auto& rows = rank.rows();
    rank.device().multiply(rows, input, w1, record.gate);
    rank.device().multiply(rows, input, w3, record.up);
    rank.device().swiglu(rows, record.gate, record.up, record.product);
    rank.device().multiply(rows, record.product, w2, output);
  }

  //! Sets input_gradient and the gradients of the three matrices. Its own memory is released again.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, ConstMatrix<Element> output_gradient, Matrix<Element> input_gradient,
                          const Record<Element>& record) const {
    auto& device = rank.device();
    auto& arena = rank.arena();
    const Index mark = arena.mark();
    const auto product_gradient = arena.template take<Element>(record.product.rows, record.product.columns);
    const auto gate_gradient = arena.template take<Element>(record.gate.rows, record.gate.columns);
    const auto up_gradient = arena.template take<Element>(record.up.rows, record.up.columns);
    const auto& rows = rank.rows();
    device.multiply_transposed(rows, output_gradient, rank.weights(down), product_gradient);
    device.weight_gradient(rows, output_gradient, record.product, rank.gradient(down));
    device.swiglu_backward(rows, record.gate, record.up, product_gradient, gate_gradient, up_gradient);
    device.multiply_transposed(rows, gate_gradient, rank.weights(gate), input_gradient);
    device.multiply_transposed_onto(rows, up_gradient, rank.weights(up), input_gradient);
    device.weight_gradient(rows, gate_gradient, record.input, rank.gradient(gate));
    device.weight_gradient(rows, up_gradient, record.input, rank.gradient(up));
    arena.release(mark);
  }
};

}  // namespace moepar
