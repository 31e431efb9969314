// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! Table of Vocabulary rows of Hidden elements, one for each token id.
template <Index Vocabulary, Index Hidden> struct Embedding {
  static constexpr bool rules_hold = require_sizes_are_positive<Vocabulary, Hidden>();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts{.hidden = Hidden};

  Parameter weight{detail::size_or_one(Vocabulary), detail::size_or_one(Hidden)};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("weight", self.weight);
  }
};

}  // namespace moepar
