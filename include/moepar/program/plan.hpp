// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/plan/census_walk.hpp>
#include <moepar/plan/memory.hpp>
#include <moepar/plan/state.hpp>
#include <moepar/program/options.hpp>
#include <moepar/program/result.hpp>
#include <moepar/topology/step_shape.hpp>
#include <moepar/train/plan_text.hpp>
#include <moepar/train/trainer_options.hpp>

namespace moepar::program {

//! What a training step of Job takes: for people on standard error, as JSON in the result. Bytes of rank 0, which keeps
//! the most.
template <class Job> void print_plan(const ProgramOptions& options) {
  using Model = typename Job::model;
  constexpr Layout layout = Job::layout;
  const Index batch = options.batch > 0 ? options.batch : layout.world * options.micro_steps;
  StepShape shape = shape_of_batch(batch, options.length > 0 ? options.length : 512, layout.world, options.micro_steps);
  shape.receive_rows = options.receive_rows;
  (void)detail::checked_options({.shape = shape});
  const Census census = census_of<Model>();
  const MemoryPlan memory = memory_plan<Model>(state_of_rank(census, layout, shape.precision), layout, 0, shape);
  const StepCost cost = cost_of_job<Model>(layout, 0, shape);
  Index sent = 0;
  for (std::size_t axis = 0; axis < axis_count; ++axis) sent += cost.ledger.of(static_cast<Axis>(axis)).bytes;
  std::fputs(plan_text<Model>(layout, shape, 0, options.workers > 0 ? options.workers : 1).c_str(), stderr);
  ProgramResult{}
      .add("world", layout.world)
      .add("expert_degree", layout.expert)
      .add("dense_shard_degree", layout.dense_shard)
      .add("expert_shard_degree", layout.expert_shard)
      .add("batch", batch)
      .add("length", shape.length)
      .add("parameters", census.parameters().total())
      .add("active_parameters", census.parameters().active)
      .add("kept_parameters", cost.held)
      .add("parameter_bytes", memory.parameters)
      .add("gradient_bytes", memory.gradients)
      .add("optimizer_bytes", memory.optimizer)
      .add("activation_bytes", memory.arenas.activations)
      .add("gathered_bytes", memory.arenas.parameters)
      .add("route_bytes", memory.arenas.routes)
      .add("constant_bytes", memory.arenas.constants)
      .add("bytes_per_rank", memory.bytes_per_rank)
      .add("flops", cost.flops)
      .add("collectives", cost.ledger.calls())
      .add("sent_bytes", sent)
      .write(options.out);
}

}  // namespace moepar::program
