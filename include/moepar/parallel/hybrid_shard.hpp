// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/topology/facts.hpp>
#include <moepar/topology/resolve.hpp>

namespace moepar {

namespace detail {
constexpr Index zero_if(Index value, Index unless) { return value == unless ? 0 : value; }
}  // namespace detail

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
};

}  // namespace moepar
