// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! y = x / sqrt(mean(x^2) + epsilon) * weight, row by row (Zhang and Sennrich 2019). weight: Hidden elements.
template <Index Hidden> struct RmsNorm {
  static constexpr bool rules_hold = require_sizes_are_positive<Hidden>();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts{.hidden = Hidden};

  Parameter weight{1, detail::size_or_one(Hidden)};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("weight", self.weight);
  }
};

}  // namespace moepar
