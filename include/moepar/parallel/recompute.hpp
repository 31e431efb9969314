// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/rules.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! Keeps only the input of Module between forward and backward, and computes the rest again (Chen et al. 2016).
template <class Module> struct Recompute {
  static constexpr bool rules_hold = [] {
    if constexpr (!children_intact<Module>())
      return false;
    else
      return require_module<Module>();
  }();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts = facts_of<Module>();

  Module inner{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk.recomputed(self.inner);
  }
};

}  // namespace moepar
