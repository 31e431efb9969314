// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! Shards every parameter of Module: a group of ShardDegree ranks holds one copy, groups hold replicas of one another.
//! ShardDegree: 0 the whole world (experts: the world / expert degree), 1 no sharding, else that many ranks.
//! ExpertShardDegree: the same for the parameters of experts; by default it follows ShardDegree.
template <class Module, Index ShardDegree, Index ExpertShardDegree = same_as_dense> struct HybridShard {
  static constexpr bool valid = [] {
    if constexpr (!children_intact<Module>())
      return false;
    else if constexpr (!require_module<Module>())
      return false;
    else if constexpr (!require_sharded_once<Module::facts.shard_wrappers>())
      return false;
    else if constexpr (!require_shard_degree_is_not_negative<ShardDegree>())
      return false;
    else
      return require_shard_degree_is_not_negative < ExpertShardDegree == same_as_dense ? 0 : ExpertShardDegree > ();
  }();
  static_assert(detail::checked<valid>);
  static constexpr ModuleFacts facts = [] {
    ModuleFacts all = facts_of<Module>();
    all.shard_degree = ShardDegree;
    all.expert_shard_degree = ExpertShardDegree;
    ++all.shard_wrappers;
    return all;
  }();

  Module inner{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk.sharded(self.inner);
  }
};

}  // namespace moepar
