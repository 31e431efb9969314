// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/linear.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/routing/router.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

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
};

}  // namespace moepar
