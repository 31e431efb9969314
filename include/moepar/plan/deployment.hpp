// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/plan/census.hpp>
#include <moepar/plan/census_walk.hpp>
#include <moepar/plan/fit.hpp>
#include <moepar/plan/memory.hpp>
#include <moepar/plan/state.hpp>
#include <moepar/plan/step_cost.hpp>
#include <moepar/plan/traffic.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/resolve.hpp>
#include <moepar/topology/rules.hpp>
#include <moepar/topology/world.hpp>
#include <optional>

namespace moepar {

//! A model on a world. Every rule that involves both is checked here, when the class is used for the first time; what
//! follows from the two is known here: layout, groups, parameters, bytes and traffic. After a broken rule, which the
//! compiler has reported, answers about the model stand as far as it can be walked and answers about ranks are zero.
template <class Model, class World> struct Deployment {
  using model = Model;

  static constexpr Census census = [] {
    if constexpr (module_type<Model>)
      return census_of<Model>();
    else
      return Census{};
  }();

  //! The degrees of the parameters that there are: one that no parameter has is 1.
  static constexpr Degrees degrees{.expert = census.expert_degree.first,
                                   .shard = census.dense_shard.first,
                                   .expert_shard = census.expert_shard.first};

  static constexpr bool valid = [] {
    if constexpr (!children_intact<Model>() || !census.intact)
      return false;
    else if constexpr (!require_module<Model>())
      return false;
    else if constexpr (!require_world<World>())
      return false;
    else if constexpr (!require_sharded_once<census.sharded_deep>())
      return false;
    else if constexpr (!require_expert_parallel_once<census.spread_deep>())
      return false;
    else if constexpr (!require_experts_hold_no_experts<census.experts_deep>())
      return false;
    else if constexpr (!require_one_expert_degree_per_model<census.expert_degree.first, census.expert_degree.second>())
      return false;
    else if constexpr (!require_one_shard_degree_per_model<census.dense_shard.first, census.dense_shard.second>())
      return false;
    else if constexpr (!require_one_shard_degree_per_model<census.expert_shard.first, census.expert_shard.second>())
      return false;
    else
      return require_degrees_fit_world<World::size, degrees.expert, resolve_shard_degree(degrees.shard, World::size),
                                       resolve_expert_shard_degree(degrees, World::size)>();
  }();
  static_assert(detail::checked<valid>);

  static constexpr Layout layout = [] {
    if constexpr (valid)
      return layout_of(degrees, World::size, World::expert_axis);
    else
      return Layout{};
  }();

  //! Of the whole model.
  static constexpr ParameterCount parameters() { return census.parameters(); }

  //! That `rank` holds; rank 0 holds the most.
  static constexpr ParameterCount parameters_of_rank(Index rank = 0) {
    if constexpr (!valid) return {};
    return moepar::parameters_of_rank(census, layout, rank);
  }

  //! Bytes of parameters, gradients and optimizer that `rank` keeps between steps; rank 0 keeps the most.
  static constexpr StateBytes state(Precision precision = Precision::f32, Index rank = 0) {
    if constexpr (!valid) return {};
    return state_of_rank(census, layout, precision, rank);
  }

  //! Bytes of `rank`, between steps and in one; see MemoryPlan for what is counted. Rank 0 keeps the most; where the
  //! sequences of ranks are no nodes of the tree (docs/bits.md), another one may need more in a step.
  static constexpr MemoryPlan memory(const StepShape& shape, Index rank = 0) {
    if constexpr (!valid) return {};
    return memory_plan<Model>(state(shape.precision, rank), layout, rank, shape);
  }

  //! What a step costs `rank`: bytes, operations and every collective, as the program itself counts them.
  static constexpr StepCost cost(const StepShape& shape, Index rank = 0)
    requires step_runs<Model>
  {
    if constexpr (!valid) return {};
    return cost_of_job<Model>(layout, rank, shape);
  }

  //! Bytes that a rank sends in a step, by axis.
  static constexpr TrafficBytes traffic(const StepShape& shape) {
    if constexpr (!valid) return {};
    return traffic_of_rank(census, layout, shape);
  }

  //! The smallest HybridShard degree (0: the whole world) with which the state of a rank fits `bytes`, if one does.
  static constexpr std::optional<Index> smallest_shard_degree_that_fits(Index bytes,
                                                                        Precision precision = Precision::f32) {
    return moepar::smallest_shard_degree_that_fits(census, layout.world, layout.expert, bytes, precision);
  }
};

}  // namespace moepar
