// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/precision.hpp>
#include <moepar/parallel/arena_bytes.hpp>
#include <moepar/plan/state.hpp>
#include <moepar/plan/step_cost.hpp>
#include <moepar/tensor/precision.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/step_shape.hpp>

namespace moepar {

//! Bytes of one rank.
struct MemoryPlan {
  Index parameters = 0;
  Index gradients = 0;  //!< with the sums that wait for later micro-steps
  Index optimizer = 0;
  ArenaBytes arenas{};        //!< what a step takes and gives back
  bool step_counted = false;  //!< false: a module inside has no forward and backward, or not in this precision; then
                              //!< only the state counts
  Index bytes_per_rank = 0;   //!< the sum

  friend constexpr bool operator==(const MemoryPlan&, const MemoryPlan&) = default;
};

//! A model whose step can run, and so be counted.
template <class Model> inline constexpr bool step_runs = language_model<Model> || computes_rows<Model>;

//! What a step of `rank` costs: a training step of a language model, one pass of a module that computes rows.
template <class Model>
  requires step_runs<Model>
constexpr StepCost cost_of_job(const Layout& layout, Index rank, const StepShape& shape) {
  if constexpr (language_model<Model>)
    return cost_of_step<Model>(layout, rank, shape);
  else
    return cost_of_pass<Model>(layout, rank, shape);
}

template <class Model>
constexpr MemoryPlan memory_plan(const StateBytes& state, const Layout& layout, Index rank, const StepShape& shape) {
  MemoryPlan plan{.parameters = state.parameters, .gradients = state.gradients, .optimizer = state.optimizer};
  if constexpr (step_runs<Model>) {
    if (shape.precision == Precision::f32) {
      const StepCost cost = cost_of_job<Model>(layout, rank, shape);
      plan.gradients = cost.slots * gradient_bytes;
      plan.arenas = cost.arenas;
      plan.step_counted = true;
    }
  }
  plan.bytes_per_rank = plan.parameters + plan.gradients + plan.optimizer + plan.arenas.total();
  return plan;
}

}  // namespace moepar
