// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/device/rank.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/nn/routed_experts.hpp>
#include <moepar/routing/dispatcher.hpp>
#include <moepar/routing/route_plan.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! Spreads the experts of a layer over an expert group of Degree ranks: each rank holds Count / Degree of them, tokens
//! travel to their experts and back by Dispatcher: AllToAll or AllGather, which leave the same bits.
template <class Experts, Index Degree, class Dispatcher = AllToAll> struct ExpertParallel {
  static constexpr bool rules_hold = [] {
    if constexpr (!children_intact<Experts>())
      return false;
    else if constexpr (!require_experts<Experts>())
      return false;
    else
      return require_degree_divides_expert_count<Degree, Experts::facts.expert_count>();
  }();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts = facts_of<Experts>();

  Experts experts{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk.spread(Degree, self.experts);
  }

  static constexpr bool computes_inside = moepar::computes<Experts>();

  using dispatcher = Dispatcher;
  template <class Element> using Record = RecordOf<Experts, Element>;

  //! Rows that are grouped by expert already: what Moe calls after it has carried them here.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, ConstMatrix<Element> input, Matrix<Element> output,
                         Record<Element>& record) const {
    experts.forward(rank, input, output, record);
  }
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, ConstMatrix<Element> output_gradient, Matrix<Element> input_gradient,
                          const Record<Element>& record) const {
    experts.backward(rank, output_gradient, input_gradient, record);
  }

  template <class Element> using RoutedRecord = RoutedExpertsRecord<Experts, Element>;

  //! Token rows and a plan, without a Moe around: output[t] = sum over slots of weight x expert(input[t]).
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, const RoutePlan<Element>& plan, ConstMatrix<Element> input, Matrix<Element> output,
                         RoutedRecord<Element>& record) const {
    RoutedExperts<Dispatcher>::forward(rank, experts, plan, input, output, record);
  }
  //! Sets input_gradient, rows x hidden, and weight_gradient, rows x top_k.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, const RoutePlan<Element>& plan, ConstMatrix<Element> input,
                          ConstMatrix<Element> output_gradient, Matrix<Element> input_gradient,
                          Matrix<Element> weight_gradient, const RoutedRecord<Element>& record) const {
    RoutedExperts<Dispatcher>::backward(rank, experts, plan, input, output_gradient, input_gradient, weight_gradient,
                                        record);
  }
};

}  // namespace moepar
