// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/bf16.hpp>
#include <moepar/core/index.hpp>
#include <moepar/plan/activations.hpp>
#include <moepar/plan/state.hpp>
#include <moepar/plan/traffic.hpp>
#include <moepar/tensor/precision.hpp>

namespace moepar {

//! Bytes of the fullest rank.
struct MemoryPlan {
  Index parameters = 0;
  Index gradients = 0;
  Index optimizer = 0;
  Index activations = 0;             //!< what forward and backward take from the arena
  bool activations_counted = false;  //!< false: a module inside has no forward and backward; then only the state counts
  Index bytes_per_rank = 0;          //!< the sum

  friend constexpr bool operator==(const MemoryPlan&, const MemoryPlan&) = default;
};

template <class Model> constexpr MemoryPlan memory_plan(const StateBytes& state, const StepShape& shape) {
  MemoryPlan plan{.parameters = state.parameters, .gradients = state.gradients, .optimizer = state.optimizer};
  if constexpr (computes_rows<Model, float>) {
    plan.activations = shape.precision == Precision::f32 ? cost_of_pass<Model, float>(shape.tokens()).arena_bytes
                                                         : cost_of_pass<Model, Bf16>(shape.tokens()).arena_bytes;
    plan.activations_counted = true;
  }
  plan.bytes_per_rank = state.total() + plan.activations;
  return plan;
}

}  // namespace moepar
