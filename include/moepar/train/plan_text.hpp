// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/plan/census.hpp>
#include <moepar/plan/census_walk.hpp>
#include <moepar/plan/memory.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/step_shape.hpp>
#include <moepar/train/text_table.hpp>
#include <string>
#include <vector>

namespace moepar {

//! "4 ranks: expert degree 2, shard degree 2; replicas: 2 of dense parameters, 1 of experts"
inline std::string layout_text(const Layout& layout) {
  std::string text = std::to_string(layout.world) + (layout.world == 1 ? " rank" : " ranks");
  if (layout.world == 1) return text;
  text += ": expert degree " + std::to_string(layout.expert) + ", shard degree " + std::to_string(layout.dense_shard);
  if (layout.expert_shard != layout.dense_shard) text += " (experts " + std::to_string(layout.expert_shard) + ")";
  return text + "; replicas: " + std::to_string(layout.replica_degree(Kind::dense)) + " of dense parameters, " +
         std::to_string(layout.replica_degree(Kind::expert)) + " of experts";
}

//! What is known before the first step, for people: layout, batch, parameters, memory of `rank` by arena, collectives.
template <class Model> std::string plan_text(const Layout& layout, const StepShape& shape, Index rank, Index workers) {
  const Census census = census_of<Model>();
  const MemoryPlan memory =
      memory_plan<Model>(state_of_rank(census, layout, shape.precision, rank), layout, rank, shape);
  const StepCost cost = cost_of_job<Model>(layout, rank, shape);
  const Index batch = layout.world * shape.sequences * shape.micro_steps;
  std::string text = "layout      " + layout_text(layout) + "\n";
  text += "machine     threads, " + std::to_string(workers) + (workers == 1 ? " worker" : " workers") + " a rank, " +
          cpu::name_of(cpu::instruction_set()) + " kernels\n";
  text += "batch       " + std::to_string(batch) + " sequences of " + std::to_string(shape.length) + " tokens (" +
          std::to_string(shape.sequences) + " a rank" +
          (shape.micro_steps == 1 ? "" : " and micro-step, " + std::to_string(shape.micro_steps) + " micro-steps") +
          ")\n";
  text += "parameters  " + human_count(census.parameters().total()) + ", " + human_count(census.parameters().active) +
          " used by a token; rank " + std::to_string(rank) + " keeps " + human_count(cost.held) + "\n";
  Index bytes = 0;
  for (std::size_t axis = 0; axis < axis_count; ++axis) bytes += cost.ledger.of(static_cast<Axis>(axis)).bytes;
  text += "collectives " + std::to_string(cost.ledger.calls()) + " a step, " + human_bytes(bytes) + " from a rank\n";
  const std::vector<PlanRow> rows{
      {"parameters", memory.parameters, ""},
      {"gradients", memory.gradients, ""},
      {"optimizer", memory.optimizer, "first and second moment"},
      {"activations", memory.arenas.activations, "arena: kept for backward, and scratch"},
      {"gathered", memory.arenas.parameters, "arena: parameters in use, parts of their gradients"},
      {"routes", memory.arenas.routes, "arena: plans and counts of the routers"},
      {"constants", memory.arenas.constants, "arena: rotary tables"},
  };
  return text + plan_table("memory of rank " + std::to_string(rank), rows);
}

}  // namespace moepar
