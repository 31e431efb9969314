// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <limits>
#include <span>

#include <moepar/core/index.hpp>

namespace moepar {

//! A number that was not measured: NaN, which becomes null in the metrics and "-" in the progress line.
inline constexpr double not_measured = std::numeric_limits<double>::quiet_NaN();

//! What one training step did, for people and for files. Sums and means are over all ranks.
struct StepReport {
  Index step = 0;  //!< counts from 1
  Index total_steps = 0;
  double loss = not_measured;             //!< what the step made smaller: cross entropy, auxiliary and z-loss
  double cross_entropy = not_measured;    //!< nats a token, mean of the step's batch
  double evaluation_loss = not_measured;  //!< nats a token; not measured in most steps
  double auxiliary_loss = not_measured;   //!< of load balancing, without its coefficient
  double z_loss = not_measured;           //!< of the router's logits, without its coefficient
  double gradient_norm = not_measured;    //!< before clipping
  double learning_rate = not_measured;
  double milliseconds = not_measured;  //!< of the whole step, on the slowest rank
  double tokens_per_second = not_measured;
  double tokens_per_second_per_rank = not_measured;
  double percent_of_peak = not_measured;     //!< arithmetic of the model against the peak measured in the same run
  double load_max_over_mean = not_measured;  //!< busiest expert against the mean expert, worst layer; 1 is even
  Index dead_experts = 0;                    //!< experts, over all layers, that got no token in this step
  Index dropped_tokens = 0;                  //!< (token, expert) pairs left out for lack of room
  double seconds_left = not_measured;
  //! layers x experts, row-major, not owned; empty when the model has no experts.
  std::span<const std::int64_t> tokens_per_expert{};
  Index layers = 0;   //!< that have experts
  Index experts = 0;  //!< of a layer
};

}  // namespace moepar
