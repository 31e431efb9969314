// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! Layers copies of one block, one after another: an array of one type, so that compile time does not depend on Layers.
template <class Block, Index Layers> struct Repeat {
  static constexpr bool rules_hold = [] {
    if constexpr (!children_intact<Block>())
      return false;
    else if constexpr (!require_module<Block>())
      return false;
    else
      return require_sizes_are_positive<Layers>();
  }();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts = facts_of<Block>();

  std::array<Block, static_cast<std::size_t>(detail::size_or_one(Layers))> layers{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk.each("layers", self.layers);
  }
};

}  // namespace moepar
