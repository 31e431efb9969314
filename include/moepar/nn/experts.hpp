// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/device/rank.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! Count experts of one kind, each with parameters of its own. One `Expert` stands for all: its parameters are stacked
//! along a leading axis, which is what a grouped GEMM reads.
template <class Expert, Index Count> struct Experts {
  static constexpr bool rules_hold = [] {
    if constexpr (!children_intact<Expert>())
      return false;
    else if constexpr (!require_module<Expert>())
      return false;
    else
      return require_sizes_are_positive<Count>();
  }();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts{.hidden = facts_of<Expert>().hidden, .expert_count = Count};

  Expert expert{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk.stacked("experts", detail::size_or_one(Count), self.expert);
  }

  static constexpr bool computes_inside = moepar::computes<Expert>();

  template <class Element> using Record = RecordOf<Expert, Element>;

  //! input, output: rows x hidden, grouped by expert as rank.rows() says; each expert computes its own group.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, ConstMatrix<Element> input, Matrix<Element> output,
                         Record<Element>& record) const {
    expert.forward(rank, input, output, record);
  }
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, ConstMatrix<Element> output_gradient, Matrix<Element> input_gradient,
                          const Record<Element>& record) const {
    expert.backward(rank, output_gradient, input_gradient, record);
  }
};

}  // namespace moepar
