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

//! y = x W^T without bias: rows of Inputs elements to rows of Outputs elements. W is Outputs x Inputs.
template <Index Inputs, Index Outputs> struct Linear {
  static constexpr bool rules_hold = require_sizes_are_positive<Inputs, Outputs>();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts{.hidden = Inputs == Outputs ? Inputs : changes_width};

  Parameter weight{detail::size_or_one(Outputs), detail::size_or_one(Inputs)};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("weight", self.weight);
  }

  template <class Element> struct Record {
    Matrix<const Element> input{};
  };

  //! input: rows x Inputs, must live until backward; output: rows x Outputs.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, ConstMatrix<Element> input, Matrix<Element> output,
                         Record<Element>& record) const {
    record.input = input;
    rank.device().multiply(rank.rows(), input, rank.weights(weight), output);
  }

  //! Sets input_gradient and the gradient of `weight`. `onto`: adds to input_gradient instead, continuing its sums.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, ConstMatrix<Element> output_gradient, Matrix<Element> input_gradient,
                          const Record<Element>& record, bool onto = false) const {
    if (onto)
      rank.device().multiply_transposed_onto(rank.rows(), output_gradient, rank.weights(weight), input_gradient);
    else
      rank.device().multiply_transposed(rank.rows(), output_gradient, rank.weights(weight), input_gradient);
    rank.device().weight_gradient(rank.rows(), output_gradient, record.input, rank.gradient(weight));
  }
};

}  // namespace moepar
