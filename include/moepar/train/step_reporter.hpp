// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <chrono>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/peak.hpp>
#include <moepar/optim/training_step.hpp>
#include <moepar/plan/memory.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/step_shape.hpp>
#include <moepar/train/load_report.hpp>
#include <moepar/train/step_report.hpp>
#include <thread>

namespace moepar {

//! Turns what a trainer's steps yield into reports: rates, share of the machine's peak, load of the experts, time left.
//! For one rank. Made right before the first step, since its clock starts then.
template <class Trainer> class StepReporter {
 public:
  //! steps_made: before this run, of total_steps. The peak of the machine is measured here, which takes some
  //! milliseconds.
  StepReporter(Trainer& trainer, Index steps_made, Index total_steps)
      : trainer_{&trainer}, steps_made_{steps_made}, world_{trainer.rank().layout().world} {
    report_.total_steps = total_steps;
    const Index workers = trainer.rank().device().workers().count();
    const double threads = std::min(static_cast<double>(world_ * workers),
                                    std::max(1.0, static_cast<double>(std::thread::hardware_concurrency())));
    peak_ = cpu::measured_peak() * threads;
    StepShape shape = trainer.options().shape;
    shape.factors = {};  // those of the whole batch do not fit one rank's share
    flops_ = static_cast<double>(world_) *
             static_cast<double>(cost_of_job<typename Trainer::Model>(Layout{}, 0, shape).flops);
  }

  //! Of the machine for this run, FLOP/s; 0: not known.
  [[nodiscard]] double peak() const { return peak_; }
  //! Operations of a full step, over all ranks.
  [[nodiscard]] double flops() const { return flops_; }
  //! Since this object was made.
  [[nodiscard]] double seconds() const { return seconds_since(began_); }

  //! Before a step.
  void start() { start_ = Clock::now(); }
  //! After it: the clock of the step stops.
  void stop() { step_seconds_ = seconds_since(start_); }

  //! The step that start and stop were around. tokens: of its batch.
  const StepReport& report(Index step, const StepOutcome& outcome, double learning_rate, Index tokens,
                           double evaluation_loss = not_measured) {
    report_.step = step;
    report_.loss = trainer_->total_loss(outcome);
    report_.cross_entropy = outcome.loss;
    report_.evaluation_loss = evaluation_loss;
    report_.auxiliary_loss = outcome.auxiliary_loss;
    report_.z_loss = outcome.z_loss;
    report_.gradient_norm = outcome.gradient_norm;
    report_.learning_rate = learning_rate;
    report_.milliseconds = step_seconds_ * 1e3;
    report_.tokens_per_second = static_cast<double>(tokens) / step_seconds_;
    report_.tokens_per_second_per_rank = report_.tokens_per_second / static_cast<double>(world_);
    report_.percent_of_peak = peak_ > 0 ? 100 * flops_ / step_seconds_ / peak_ : not_measured;
    report_.tokens_per_expert = trainer_->router_counts();
    report_.layers = trainer_->routers().layers;
    report_.experts = trainer_->routers().experts;
    if (!report_.tokens_per_expert.empty()) {
      const LoadReport load = load_report(report_.tokens_per_expert, report_.layers, report_.experts);
      report_.load_max_over_mean = load.max_over_mean;
      report_.dead_experts = load.dead_experts;
    }
    const auto made = static_cast<double>(step - steps_made_);
    report_.seconds_left = seconds() / made * static_cast<double>(report_.total_steps - step);
    return report_;
  }

 private:
  using Clock = std::chrono::steady_clock;
  static double seconds_since(Clock::time_point start) {
    return std::chrono::duration<double>(Clock::now() - start).count();
  }

  Trainer* trainer_;
  Index steps_made_, world_;
  double peak_ = 0, flops_ = 0, step_seconds_ = 0;
  StepReport report_{};
  Clock::time_point began_ = Clock::now(), start_ = began_;
};

}  // namespace moepar
