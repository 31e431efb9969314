// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <moepar/comm/ledger.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/part_stack.hpp>
#include <moepar/optim/gradient_norm.hpp>
#include <moepar/optim/tied.hpp>
#include <moepar/routing/balance.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/router_totals.hpp>
#include <span>
#include <string>
#include <vector>

namespace moepar {

//! The sequences of one rank and micro-step, one behind the other. Row r of sequence i is begins[i] + r.
struct MicroBatch {
  const std::int32_t* ids = nullptr;
  const std::int32_t* targets = nullptr;  //!< the token that follows, -1 where none is asked for
  const Index* begins = nullptr;          //!< sequences + 1
};

//! What a step tells, the same on every rank.
struct StepOutcome {
  double loss = 0;                   //!< cross entropy a target
  double auxiliary_loss = 0;         //!< without its coefficient
  double z_loss = 0;                 //!< without its coefficient: mean over tokens and sum over layers of log-sum-exp^2
  double gradient_norm = 0;          //!< before clipping
  double sinkhorn_error = 0;         //!< largest imbalance that Sinkhorn left
  Index not_finite_norm = -1;        //!< number of the weight of the first norm that met a value that is not finite
  Index not_finite_rank = -1;        //!< on which rank
  bool not_finite_gradient = false;  //!< met in backward, not in forward
};

//! The forward and backward passes of a language model over one batch, and the norm of its gradient: the part of a step
//! before the update. Runs on a rank that counts as on one that computes. Keeps its memory between steps.
class TrainingStep {
 public:
  //! batch: one MicroBatch a micro-step (not read by a rank that counts). After it rank.kept_gradient is the gradient
  //! of the loss, and router_counts() says who got how much. agreed: a hash
  //! of what all ranks must have alike, e.g. the learning rate; Error on all ranks when they have not.
  template <class Rank, class Model>
  constexpr StepOutcome operator()(Rank& rank, const Model& model, std::span<const MicroBatch> batch,
                                   std::uint32_t agreed = 0) {
    const Index micro_steps = rank.shape().micro_steps, sequences = rank.shape().sequences;
    rank.reset();
    rank.forget_notes();
    count_batch(rank, batch, agreed);
    if constexpr (!Rank::counting) {
      leaves_.assign(static_cast<std::size_t>(values_ * micro_steps * sequences + 1), 0.0);
      batch_leaves_.resize(static_cast<std::size_t>(rank.layout().world) * leaves_.size());
    }
    for (Index m = 0; m < micro_steps; ++m)
      micro_step(rank, model, m, batch.empty() ? MicroBatch{} : batch[static_cast<std::size_t>(m)]);
    rank.finish_gradients();
    add_gradients_of_uses(rank, model);
    StepOutcome outcome = gather_outcome(rank);
    outcome.gradient_norm = norm_(rank, model);
    return outcome;
  }

  //! Layers x experts: rows sent in the last step, over the whole batch.
  [[nodiscard]] std::span<const std::int64_t> router_counts() const { return counts_; }
  //! Of the last step: sums of squared gradients of all parameters in registration order, experts one by one.
  [[nodiscard]] std::span<const double> squared_norms() const { return norm_.squares(); }

 private:
  static constexpr Index values_ = 4;  // a sequence: loss, auxiliary loss, z-loss, Sinkhorn's imbalance

  //! Tokens and targets of the whole batch: gradients are divided by them, wherever the rows are.
  template <class Rank>
  constexpr void count_batch(Rank& rank, std::span<const MicroBatch> batch, std::uint32_t agreed) {
    rank.ledger().add(Axis::world, Operation::sum, 3 * static_cast<Index>(sizeof(std::int64_t)));
    if constexpr (!Rank::counting) {
      std::int64_t counts[3] = {0, 0, agreed};
      for (const MicroBatch& micro_batch : batch) {
        const Index rows = micro_batch.begins[rank.shape().sequences];
        counts[0] += rows;
        for (Index row = 0; row < rows; ++row) counts[1] += micro_batch.targets[row] >= 0 ? 1 : 0;
      }
      if constexpr (Rank::communicates) rank.axes().world.sum(std::span<std::int64_t>{counts});
      if (counts[2] != rank.layout().world * static_cast<std::int64_t>(agreed))
        throw Error{"moepar: the ranks were given different settings for one step, seen by rank " +
                    std::to_string(rank.rank()) + ". Fix: give every rank the same learning rate."};
      rank.set_batch({.tokens = counts[0], .targets = counts[1]});
    }
  }

  template <class Rank, class Model>
  constexpr void micro_step(Rank& rank, const Model& model, Index m, const MicroBatch& batch) {
    using Element = typename Rank::Element;
    auto& arena = rank.arena();
    rank.begin_micro_step(m, batch.begins);
    const Index rows = rank.shape().tokens();
    const auto losses = arena.template take<double>(rows, 1);
    const auto round = arena.template take<std::int64_t>(rank.totals().layers, rank.totals().experts);
    const auto hidden = arena.template take<Element>(rows, Model::facts.hidden);
    const auto hidden_gradient = arena.template take<Element>(rows, Model::facts.hidden);
    typename Model::template Record<Element> record{};
    model.forward(rank, batch.ids, hidden, record);
    const double scale = rank.batch().targets == 0 ? 0 : 1.0 / static_cast<double>(rank.batch().targets);
    model.loss(rank, hidden, batch.targets, scale, losses.data, hidden_gradient);
    close_balance(rank, round.data);
    if constexpr (!Rank::counting) keep_leaves(rank, m, losses.data, round.data);
    model.backward(rank, hidden_gradient, record);
    arena.release(0);
  }

  template <class Rank>
  void keep_leaves(Rank& rank, Index m, const double* losses, const std::int64_t* counts_of_round) {
    const auto& totals = rank.totals();
    for (Index g = 0; g < rank.shape().sequences; ++g) {
      double* leaf = leaves_.data() + (m * rank.shape().sequences + g) * values_;
      double sum = 0;
      for (Index t = rank.rows().begins[g]; t < rank.rows().begins[g + 1]; ++t) sum += losses[t];
      leaf[0] = sum;
      if (totals.layers == 0) continue;
      if (totals.balances) leaf[1] = balance_of_sequence(rank, g, counts_of_round);
      leaf[2] = totals.z_losses[g];
      leaf[3] = totals.sinkhorn_error[g];
    }
    if (m == 0) counts_.assign(static_cast<std::size_t>(totals.layers * totals.experts), 0);
    for (Index layer = 0; layer < totals.layers; ++layer)
      for (Index g = 0; g < totals.granules; ++g)
        for (Index e = 0; e < totals.experts; ++e)
          counts_[static_cast<std::size_t>(layer * totals.experts + e)] +=
              totals.counts_of(layer)[g * totals.experts + e];
  }

  template <class Rank> constexpr StepOutcome gather_outcome(Rank& rank) {
    const auto& totals = rank.totals();
    const Index own = values_ * rank.shape().micro_steps * rank.shape().sequences + 1;
    rank.ledger().add(Axis::world, Operation::all_gather, own * static_cast<Index>(sizeof(double)));
    rank.ledger().add(Axis::world, Operation::sum,
                      totals.layers * totals.experts * static_cast<Index>(sizeof(std::int64_t)));
    StepOutcome outcome;
    if constexpr (!Rank::counting) {
      leaves_.back() = static_cast<double>(rank.first_not_finite());
      if constexpr (Rank::communicates) {
        rank.axes().world.all_gather(std::span<const double>{leaves_}, std::span<double>{batch_leaves_});
        rank.axes().world.sum(std::span<std::int64_t>{counts_});
      } else {
        std::copy(leaves_.begin(), leaves_.end(), batch_leaves_.begin());
      }
      add_leaves(rank, own, outcome);
    }
    return outcome;
  }

  template <class Rank> void add_leaves(Rank& rank, Index own, StepOutcome& outcome) {
    const auto& split = rank.split();
    const auto& shape = rank.shape();
    const auto leaf = [&](Index member, Index m, Index g) {
      return batch_leaves_.data() + member * own + (m * shape.sequences + g) * values_;
    };
    Index first = -1;
    by_granule_.resize(static_cast<std::size_t>(split.granules()));
    for (Index member = 0; member < split.world; ++member) {
      for (Index m = 0; m < shape.micro_steps; ++m)
        for (Index g = 0; g < shape.sequences; ++g)
          by_granule_[static_cast<std::size_t>(split.granules_of(member, m).first + g)] = leaf(member, m, g);
      const auto note = static_cast<Index>(batch_leaves_[static_cast<std::size_t>((member + 1) * own - 1)]);
      // Forward notes come first, ascending; then those of backward, descending.
      const auto order = [](Index value) { return value % 2 == 0 ? value : (Index{1} << 60) - value; };
      if (note >= 0 && (first < 0 || order(note) < order(first))) {
        first = note;
        outcome.not_finite_norm = note / 2;
        outcome.not_finite_gradient = note % 2 == 1;
        outcome.not_finite_rank = member;
      }
    }
    const auto sum = [&](Index value) {
      PartStack<double> stack{rank.tree()};
      for (Index g = 0; g < split.granules(); ++g)
        stack.push({g, g + 1}, by_granule_[static_cast<std::size_t>(g)][value]);
      return stack.finish();
    };
    const auto& batch = rank.batch();
    const double nothing = std::numeric_limits<double>::quiet_NaN();
    outcome.loss = batch.targets == 0 ? nothing : sum(0) / static_cast<double>(batch.targets);
    outcome.auxiliary_loss = batch.tokens == 0 ? nothing : sum(1) / static_cast<double>(batch.tokens);
    outcome.z_loss = batch.tokens == 0 ? nothing : sum(2) / static_cast<double>(batch.tokens);
    for (const double* values : by_granule_) outcome.sinkhorn_error = std::max(outcome.sinkhorn_error, values[3]);
  }

  GradientNorm norm_{};
  std::vector<double> leaves_{}, batch_leaves_{};
  std::vector<const double*> by_granule_{};
  std::vector<std::int64_t> counts_{};
};

}  // namespace moepar
