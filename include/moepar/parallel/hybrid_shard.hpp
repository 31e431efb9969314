// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/topology/facts.hpp>
#include <moepar/topology/resolve.hpp>

namespace moepar {

//! Shards every parameter of Module: a group of ShardDegree ranks holds one copy, groups hold replicas of one another.
//! ShardDegree: 0 the whole world (experts: the world / expert degree), 1 no sharding, else that many ranks.
//! ExpertShardDegree: the same for the parameters of experts; by default it follows ShardDegree.
template <class Module, Index ShardDegree, Index ExpertShardDegree = same_as_dense> struct HybridShard {
  static constexpr bool rules_hold = [] {
    if constexpr (!children_intact<Module>())
      return false;
    else if constexpr (!require_module<Module>())
      return false;
    else if constexpr (!require_shard_degree_is_not_negative<ShardDegree>())
      return false;
    else
      return require_shard_degree_is_not_negative < ExpertShardDegree == same_as_dense ? 0 : ExpertShardDegree > ();
  }();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts = facts_of<Module>();

 private:
  static constexpr Index expert_degree_ = ExpertShardDegree == same_as_dense ? ShardDegree : ExpertShardDegree;

 public:
  Module inner{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk.sharded(ShardDegree, expert_degree_, self.inner);
  }

  static constexpr bool computes_inside = moepar::computes<Module>();

  template <class Element> using Record = RecordOf<Module, Element>;

  //! What Module's forward takes, with its parameters gathered before and freed after. A module that gathers by part
  //! (Repeat, CausalLm) does that for each part itself.
  template <class Rank, class... Arguments> constexpr void forward(Rank& rank, Arguments&&... arguments) const {
    if constexpr (detail::gathers_by_part<Module>)
      inner.forward(rank, arguments...);
    else
      rank.with_parameters(inner, [&] { inner.forward(rank, arguments...); });
  }
  //! The same for backward, whose gradients are then added into the shards.
  template <class Rank, class... Arguments> constexpr void backward(Rank& rank, Arguments&&... arguments) const {
    if constexpr (detail::gathers_by_part<Module>)
      inner.backward(rank, arguments...);
    else
      rank.with_gradients(inner, [&] { inner.backward(rank, arguments...); });
  }
  //! Of a language model: see CausalLm::loss.
  template <class Rank, class... Arguments>
  constexpr void loss(Rank& rank, Arguments&&... arguments) const
    requires requires { inner.loss(rank, arguments...); }
  {
    inner.loss(rank, arguments...);
  }
  //! Of a language model: see CausalLm::score.
  template <class Rank, class... Arguments> constexpr void score(Rank& rank, Arguments&&... arguments) const {
    inner.score(rank, arguments...);
  }
};

}  // namespace moepar
