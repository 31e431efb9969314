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

//! y = x / sqrt(mean(x^2) + epsilon) * weight, row by row (Zhang and Sennrich 2019). weight: Hidden elements.
template <Index Hidden> struct RmsNorm {
  static constexpr bool rules_hold = require_sizes_are_positive<Hidden>();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts{.hidden = Hidden};

  Parameter weight{1, detail::size_or_one(Hidden), Initial::one};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("weight", self.weight);
  }

  template <class Element> struct Record {
    Matrix<const Element> input{};
    Matrix<Element> inverse{};  //!< of the root mean square, one a row
  };

  //! input, output: rows x Hidden; input must live until backward.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, ConstMatrix<Element> input, Matrix<Element> output,
                         Record<Element>& record) const {
    record = {.input = input, .inverse = rank.arena().template take<Element>(input.rows, 1)};
    rank.note(weight, rank.device().rms_norm(rank.rows(), input, rank.weights(weight), rank.numerics().norm_epsilon,
                                             output, record.inverse));
  }

  //! Sets input_gradient and the gradient of `weight`.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, ConstMatrix<Element> output_gradient, Matrix<Element> input_gradient,
                          const Record<Element>& record) const {
    rank.note(weight,
              rank.device().rms_norm_backward(rank.rows(), output_gradient, record.input, rank.weights(weight),
                                              record.inverse, input_gradient, rank.gradient(weight)),
              /*backward=*/true);
  }
};

}  // namespace moepar
