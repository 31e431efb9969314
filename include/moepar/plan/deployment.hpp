// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/plan/census.hpp>
#include <moepar/plan/fit.hpp>
#include <moepar/plan/memory.hpp>
#include <moepar/plan/state.hpp>
#include <moepar/plan/traffic.hpp>
#include <moepar/topology/facts.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/resolve.hpp>
#include <moepar/topology/rules.hpp>
#include <moepar/topology/world.hpp>
#include <optional>

namespace moepar {

namespace detail {

constexpr Index second_or_first(Index second, Index first) { return second == none_met ? first : second; }

template <class Model> consteval bool require_one_of_each_degree() {
  constexpr ModuleFacts f = Model::facts;
  if constexpr (!require_one_expert_degree_per_model<f.expert_degree,
                                                     second_or_first(f.second_expert_degree, f.expert_degree)>())
    return false;
  else if constexpr (!require_one_shard_degree_per_model<f.shard_degree,
                                                         second_or_first(f.second_shard_degree, f.shard_degree)>())
    return false;
  else
    return require_one_shard_degree_per_model<f.expert_shard_degree,
                                              second_or_first(f.second_expert_shard_degree, f.expert_shard_degree)>();
}

}  // namespace detail

//! A model on a world. Every rule that involves both is checked here, once; what follows from the two is known here:
//! layout, groups, parameters, bytes and traffic. After a broken rule, which the compiler has reported, answers about
//! ranks are zero, so that nothing is reported twice.
template <class Model, class World> struct Deployment {
  using model = Model;
  static constexpr bool valid = [] {
    if constexpr (!children_intact<Model>())
      return false;
    else if constexpr (!require_module<Model>())
      return false;
    else if constexpr (!require_world<World>())
      return false;
    else if constexpr (!detail::require_one_of_each_degree<Model>())
      return false;
    else
      return require_degrees_fit_world<World::size, Model::facts.expert_degree,
                                       resolve_shard_degree(Model::facts.shard_degree, World::size),
                                       resolve_expert_shard_degree(degrees_of(Model::facts), World::size)>();
  }();
  static_assert(detail::checked<valid>);

  static constexpr ModuleFacts facts = [] {
    if constexpr (valid)
      return ModuleFacts{Model::facts};
    else
      return ModuleFacts{};
  }();
  static constexpr Layout layout = [] {
    if constexpr (valid)
      return layout_of(degrees_of(facts), World::size, World::expert_axis);
    else
      return Layout{};
  }();
  static constexpr Census census = [] {
    if constexpr (module_type<Model>)
      return census_of<Model, /*Tolerant=*/!children_intact<Model>()>();
    else
      return Census{};
  }();

  //! Of the whole model.
  static constexpr ParameterCount parameters() { return census.parameters(); }

  //! That `rank` holds; rank 0 holds the most.
  static constexpr ParameterCount parameters_of_rank(Index rank = 0) {
    return valid ? moepar::parameters_of_rank(census, layout, rank) : ParameterCount{};
  }

  //! Bytes of parameters, gradients and optimizer that `rank` keeps between steps; rank 0 keeps the most.
  static constexpr StateBytes state(Precision precision = Precision::f32, Index rank = 0) {
    return valid ? state_of_rank(census, layout, precision, rank) : StateBytes{};
  }

  //! Bytes of the fullest rank in a step.
  static constexpr MemoryPlan memory(const StepShape& shape) {
    if constexpr (valid)
      return memory_plan<Model>(state(shape.precision), shape);
    else
      return {};
  }

  //! Bytes that a rank sends in a step, by axis.
  static constexpr TrafficBytes traffic(const StepShape& shape) {
    if constexpr (!valid) return {};
    return traffic_of_rank(census, {.all = facts.routed_columns, .recomputed = facts.recomputed_columns}, layout,
                           shape);
  }

  //! The smallest HybridShard degree (0: the whole world) with which the state of a rank fits `bytes`, if one does.
  static constexpr std::optional<Index> smallest_shard_degree_that_fits(Index bytes,
                                                                        Precision precision = Precision::f32) {
    return moepar::smallest_shard_degree_that_fits(census, layout.world, layout.expert, bytes, precision);
  }
};

}  // namespace moepar
