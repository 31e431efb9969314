// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/device/rank.hpp>
#include <moepar/nn/linear.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/nn/routed_experts.hpp>
#include <moepar/routing/dispatcher.hpp>
#include <moepar/routing/route_plan.hpp>
#include <moepar/routing/router.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

namespace detail {
//! The dispatcher that experts, or what wraps them, ask for.
template <class Experts> struct DispatcherOf {
  using type = AllToAll;
};
template <class Experts>
  requires requires { typename Experts::dispatcher; }
struct DispatcherOf<Experts> {
  using type = typename Experts::dispatcher;
};
}  // namespace detail

template <class R> consteval bool require_router() {
  static_assert(router<R>,
                "moepar::Moe: the first argument is the router. Fix: write Moe<Router<Policy, TopK>, Experts>.");
  return router<R>;
}

//! Mixture of experts: a gate scores every expert for every token, Router chooses TopK of them, the outputs of the
//! chosen experts are added with the router's weights.
template <class Router, class Experts> struct Moe {
  static constexpr Index expert_count = facts_of<Experts>().expert_count;

  static constexpr bool rules_hold = [] {
    if constexpr (!children_intact<Router, Experts>())
      return false;
    else if constexpr (!require_router<Router>())
      return false;
    else if constexpr (!require_experts<Experts>())
      return false;
    else if constexpr (!require_hidden_is_known<Experts::facts.hidden>())
      return false;
    else
      return require_top_k_within_expert_count<Router::top_k, expert_count>();
  }();
  static_assert(detail::checked<rules_hold>);

  static constexpr Index top_k = [] {
    if constexpr (rules_hold)
      return Router::top_k;
    else
      return Index{1};
  }();
  static constexpr ModuleFacts facts{.hidden = facts_of<Experts>().hidden, .routes = true};

  Linear<detail::size_or_one(facts.hidden), detail::size_or_one(expert_count)> gate{};
  Experts experts{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("gate", self.gate);
    walk.routed(top_k, facts.hidden, self.experts);
  }

  static constexpr bool computes_inside = moepar::computes<Experts>();

  template <class Element> struct Record {
    Matrix<const Element> input{};
    Matrix<Element> logits{};
    RoutePlan<Element> plan{};
    RoutedExpertsRecord<Experts, Element> routed{};
  };

  //! input, output: rows x hidden; input must live until backward. A record that already holds a plan is followed: the
  //! same tokens go to the same experts again.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, ConstMatrix<Element> input, Matrix<Element> output,
                         Record<Element>& record) const {
    record.input = input;
    record.logits = rank.arena().template take<Element>(input.rows, expert_count);
    rank.device().multiply(rank.rows(), input, rank.weights(gate.weight), record.logits);
    if (!record.plan.made) Router::route(rank, record.logits, record.plan);
    Carrier::forward(rank, experts, record.plan, input, output, record.routed);
  }

  //! Sets input_gradient and the gradients of gate and experts.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, ConstMatrix<Element> output_gradient, Matrix<Element> input_gradient,
                          const Record<Element>& record) const {
    auto& arena = rank.arena();
    const Index mark = arena.mark(), rows = output_gradient.rows;
    const auto weight_gradient = arena.template take<Element>(rows, top_k);
    const auto logits_gradient = arena.template take<Element>(rows, expert_count);
    Carrier::backward(rank, experts, record.plan, record.input, output_gradient, input_gradient, weight_gradient,
                      record.routed);
    Router::backward(rank, record.logits, record.plan, weight_gradient, logits_gradient);
    gate.backward(rank, logits_gradient, input_gradient, {.input = record.input}, /*onto=*/true);
    arena.release(mark);
  }

 private:
  using Carrier = RoutedExperts<typename detail::DispatcherOf<Experts>::type>;
};

}  // namespace moepar
