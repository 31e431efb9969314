// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/linear.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! Causal attention with rotary positions and grouped queries (Ainslie et al. 2023): Heads query heads share KvHeads
//! key and value heads. HeadSize 0 means Hidden / Heads, which must then be whole.
template <Index Hidden, Index Heads, Index KvHeads = Heads, Index HeadSize = 0> struct Attention {
  static constexpr Index head_size = HeadSize == 0 ? detail::quotient_or_one(Hidden, Heads) : HeadSize;

  static constexpr bool rules_hold = [] {
    if constexpr (!require_sizes_are_positive<Hidden, Heads, KvHeads>())
      return false;
    else if constexpr (!kv_heads_divide_heads<KvHeads, Heads>)
      return require_kv_heads_divide_heads<KvHeads, Heads>();
    else if constexpr (HeadSize == 0 && !heads_divide_hidden<Heads, Hidden>)
      return require_heads_divide_hidden<Heads, Hidden>();
    else if constexpr (!require_head_size_is_even<head_size>())
      return false;
    else
      return require_sizes_are_positive<head_size, Heads * head_size>();
  }();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts{.hidden = Hidden, .attends = true};

 private:
  static constexpr Index hidden_ = detail::size_or_one(Hidden);
  static constexpr Index query_columns_ =
      detail::size_or_one(detail::size_or_one(Heads) * detail::size_or_one(head_size));
  static constexpr Index kv_columns_ =
      detail::size_or_one(detail::size_or_one(KvHeads) * detail::size_or_one(head_size));

 public:
  Linear<hidden_, query_columns_> query{};
  Linear<hidden_, kv_columns_> key{};
  Linear<hidden_, kv_columns_> value{};
  Linear<query_columns_, hidden_> output{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("q_proj", self.query);
    walk("k_proj", self.key);
    walk("v_proj", self.value);
    walk("o_proj", self.output);
  }
};

}  // namespace moepar
