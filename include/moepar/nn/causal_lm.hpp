// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/embedding.hpp>
#include <moepar/nn/linear.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/nn/rms_norm.hpp>
#include <moepar/topology/facts.hpp>
#include <type_traits>

namespace moepar {

//! Whether the head of a language model has a matrix of its own or uses the embedding table.
enum class HeadWeights { own, tied };

//! Language model: embedding, blocks, norm, and a head that scores the next token.
template <Index Vocabulary, class Blocks, HeadWeights Head = HeadWeights::own> struct CausalLm {
  static constexpr bool rules_hold = [] {
    if constexpr (!children_intact<Blocks>())
      return false;
    else if constexpr (!require_module<Blocks>())
      return false;
    else if constexpr (!require_hidden_is_known<Blocks::facts.hidden>())
      return false;
    else
      return require_sizes_are_positive<Vocabulary>();
  }();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts{.hidden = facts_of<Blocks>().hidden};

 private:
  static constexpr Index hidden_ = detail::size_or_one(facts.hidden);
  static constexpr Index vocabulary_ = detail::size_or_one(Vocabulary);

  //! Stands where a tied head would: no parameters, no bytes.
  struct Tied {
    static constexpr ModuleFacts facts{};
    template <class Self, class Walker> static constexpr void members(Self&, Walker&) {}
  };

 public:
  Embedding<vocabulary_, hidden_> embedding{};
  Blocks blocks{};
  RmsNorm<hidden_> norm{};
  [[no_unique_address]] std::conditional_t<Head == HeadWeights::own, Linear<hidden_, vocabulary_>, Tied> head{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("model.embed_tokens", self.embedding);
    walk("model", self.blocks);
    walk("model.norm", self.norm);
    walk("lm_head", self.head);
  }
};

}  // namespace moepar
