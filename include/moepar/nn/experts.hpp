// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/module.hpp>
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
};

}  // namespace moepar
