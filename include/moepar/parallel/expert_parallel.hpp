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
  static constexpr bool valid = [] {
    if constexpr (!children_intact<Experts>())
      return false;
    else if constexpr (!require_experts<Experts>())
      return false;
    else if constexpr (!require_expert_parallel_once<Experts::facts.expert_wrappers>())
      return false;
    else
      return require_degree_divides_expert_count<Degree, Experts::facts.expert_count>();
  }();
  static_assert(detail::checked<valid>);
  static constexpr ModuleFacts facts = [] {
    ModuleFacts all = facts_of<Experts>();
    all.expert_degree = Degree;
    ++all.expert_wrappers;
    return all;
  }();

  Experts experts{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk.through(self.experts);
  }
};

}  // namespace moepar
