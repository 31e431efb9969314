// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cmath>
#include <concepts>
#include <string>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/sine_cosine.hpp>

namespace moepar {

//! What gives the learning rate of a step, counted from 1. The same bits on every rank and machine.
template <class Schedule>
concept learning_rate_schedule = requires(const Schedule& schedule, Index step) {
  { schedule.at(step) } -> std::same_as<double>;
};

namespace detail {

//! Throws Error unless all of a schedule's numbers are finite and not negative, and `step` is not negative.
inline void check_schedule(const char* name, Index step, double rate, double floor, double warmup_steps) {
  if (step >= 0 && rate >= 0 && floor >= 0 && warmup_steps >= 0 && std::isfinite(rate + floor + warmup_steps)) return;
  throw Error{std::string{"moepar::"} + name + ": asked for step " + std::to_string(step) + " with rate " +
              std::to_string(rate) + ", floor " + std::to_string(floor) + ", " + std::to_string(warmup_steps) +
              " warm-up steps. Fix: count steps from 1 and give finite numbers that are not negative."};
}

}  // namespace detail

//! The same rate at every step.
struct Constant {
  double rate = 1e-3;

  //! Throws Error for a negative step or rate.
  [[nodiscard]] double at(Index step) const {
    detail::check_schedule("Constant", step, rate, 0, 0);
    return rate;
  }
};

//! A straight rise to `peak`, then half a cosine down, never below `floor`: with n the step and w the warm-up,
//!   n <= w   peak n / w
//!   n > w    max(peak / 2 (cos(pi (n - w) / total_steps) + 1), floor)
//! The cosine runs over total_steps, not over what the warm-up left of them: the convention of Amazon SageMaker's model
//! parallel Mixtral example. After it has ended the rate stays at `floor`.
struct WarmupCosine {
  double peak = 1e-3;
  double floor = 0;
  double warmup_steps = 0;  //!< may be a fraction, as a share of the steps often is
  Index total_steps = 1;

  //! Throws Error for a negative step and for settings that are negative, not finite, or without a total.
  [[nodiscard]] double at(Index step) const {
    detail::check_schedule("WarmupCosine", step, peak, floor, warmup_steps);
    if (total_steps < 1)
      throw Error{"moepar::WarmupCosine: total_steps = " + std::to_string(total_steps) +
                  ". Fix: give the number of steps of the whole run, at least 1."};
    const auto n = static_cast<double>(step), total = static_cast<double>(total_steps);
    if (n <= warmup_steps && warmup_steps > 0) return peak * n / warmup_steps;
    constexpr double pi = 0x1.921fb54442d18p+1;
    const double angle = std::min(pi * (n - warmup_steps) / total, pi);
    return std::max(peak / 2 * (sincos64(angle).cosine + 1), floor);
  }
};

//! A straight rise to `peak` over the warm-up, then `peak`; or, with a total, a straight fall that reaches 0 at step
//! total_steps, never below `floor`. With n the step and w the warm-up,
//!   n <= w   peak n / w
//!   n > w    peak, or max(peak (total_steps - n) / (total_steps - w), floor)
struct WarmupLinear {
  double peak = 1e-3;
  double floor = 0;
  double warmup_steps = 0;
  Index total_steps = 0;  //!< 0: no fall

  //! Throws Error for a negative step and for settings that are negative or not finite.
  [[nodiscard]] double at(Index step) const {
    detail::check_schedule("WarmupLinear", step, peak, floor, warmup_steps);
    const auto n = static_cast<double>(step), total = static_cast<double>(total_steps);
    if (n <= warmup_steps && warmup_steps > 0) return peak * n / warmup_steps;
    if (total_steps == 0) return peak;
    return n >= total ? floor : std::max(peak * (total - n) / (total - warmup_steps), floor);
  }
};

}  // namespace moepar
