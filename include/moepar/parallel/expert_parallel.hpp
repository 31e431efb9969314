// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! Spreads the experts of a layer over an expert group of Degree ranks: each rank holds Count / Degree of them, tokens
//! travel to their experts and back.
template <class Experts, Index Degree> struct ExpertParallel {
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
};

}  // namespace moepar
