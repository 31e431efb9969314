// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <moepar/comm/ledger.hpp>
#include <moepar/core/index.hpp>
#include <moepar/device/counting_device.hpp>
#include <moepar/nn/bind.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/optim/training_step.hpp>
#include <moepar/parallel/arena_bytes.hpp>
#include <moepar/parallel/parallel_rank.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/step_shape.hpp>
#include <span>

namespace moepar {

//! A rank without memory: running something on it yields its bytes, operations and collectives.
template <class Element> using CountingRank = ParallelRank<Element, CountingDevice>;

//! What a step costs one rank.
struct StepCost {
  ArenaBytes arenas{};
  Index held = 0;   //!< parameters that the rank keeps
  Index slots = 0;  //!< elements of gradients that it keeps: `held`, and sums that wait for later micro-steps
  Index flops = 0;  //!< of matrix products and attention, forward and backward
  Ledger ledger{};  //!< collectives
  friend constexpr bool operator==(const StepCost&, const StepCost&) = default;
};

//! A language model: what TrainingStep trains.
template <class M>
concept language_model =
    computes<M>() && requires { requires M::facts.hidden >= 1; } &&
    requires(const M& m, CountingRank<float>& rank, Matrix<const float> in, Matrix<float> out,
             typename M::template Record<float>& record) {
      m.forward(rank, static_cast<const std::int32_t*>(nullptr), out, record);
      m.loss(rank, in, static_cast<const std::int32_t*>(nullptr), 1.0, static_cast<double*>(nullptr), out);
    };

//! A module whose forward and backward turn rows of `facts.hidden` elements into such rows.
template <class M, class Element = float>
concept computes_rows = computes<M>() && requires { requires M::facts.hidden >= 1; } &&
                        requires(const M& m, CountingRank<Element>& rank, Matrix<const Element> in, Matrix<Element> out,
                                 typename M::template Record<Element>& record) {
                          m.forward(rank, in, out, record);
                          m.backward(rank, in, out, record);
                        };

//! Runs program(rank) on a counting rank: what it would cost `rank` of `layout`. binding: of the parameters and routers
//! that the program uses.
template <class Element = float, class Program>
constexpr StepCost cost_of(const Layout& layout, Index rank, const StepShape& shape, const Binding& binding,
                           Program program) {
  CountingDevice device;
  CountingRank<Element> counting{layout, rank, shape, binding, device};
  program(counting);
  StepCost cost{.arenas = high_water(counting), .flops = device.flops(), .ledger = counting.ledger()};
  for (Index i = 0; i < placements; ++i) {
    const auto& held = counting.held(static_cast<Placement>(i));
    cost.held += held.size.held;
    cost.slots += held.size.held * held.schedule.slots;
  }
  return cost;
}

//! Runs program(rank, model).
template <class Model, class Element = float, class Program>
constexpr StepCost cost_of(const Layout& layout, Index rank, const StepShape& shape, Program program) {
  Model model{};
  const Binding binding = bind_parameters(model, layout, rank);
  return cost_of<Element>(layout, rank, shape, binding,
                          [&](auto& counting) { program(counting, static_cast<const Model&>(model)); });
}

//! A whole training step of a language model, without the update, which needs nothing but the moments.
template <language_model Model>
constexpr StepCost cost_of_step(const Layout& layout, Index rank, const StepShape& shape) {
  return cost_of<Model>(layout, rank, shape, [](auto& counting, const Model& model) {
    TrainingStep step;
    (void)step(counting, model, {});
  });
}

//! One forward and backward pass of a module over shape.sequences x shape.length rows, with its gathers and reductions.
template <class Model, class Element = float>
  requires computes_rows<Model, Element>
constexpr StepCost cost_of_pass(const Layout& layout, Index rank, const StepShape& shape) {
  return cost_of<Model, Element>(layout, rank, shape, [](auto& counting, const Model& model) {
    typename Model::template Record<Element> record{};
    const Matrix<const Element> in{nullptr, counting.shape().tokens(), Model::facts.hidden};
    const Matrix<Element> out{nullptr, counting.shape().tokens(), Model::facts.hidden};
    counting.begin_micro_step(0, nullptr);
    counting.with_parameters(model, [&] { model.forward(counting, in, out, record); });
    counting.with_gradients(model, [&] { model.backward(counting, in, out, record); });
    counting.finish_gradients();
  });
}
//! ... of `rows` rows on one rank that holds the whole module.
template <class Model, class Element = float>
  requires computes_rows<Model, Element>
constexpr StepCost cost_of_pass(Index rows) {
  return cost_of_pass<Model, Element>(Layout{}, 0, StepShape{.sequences = 1, .length = rows});
}

}  // namespace moepar
