// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <moepar/core/error.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/precision.hpp>
#include <moepar/core/random.hpp>
#include <moepar/device/numerics.hpp>
#include <moepar/optim/adam_w.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/step_shape.hpp>
#include <string>

namespace moepar {

//! Where the first values of parameters come from.
enum class Start {
  random,  //!< from the seed
  loaded,  //!< from what is loaded before the first use; a value that nothing has set is refused
};

struct TrainerOptions {
  StepShape shape{};                //!< of a rank: sequences a micro-step, their length, micro-steps
  std::uint64_t seed = 1;           //!< of initial values
  double initial_deviation = 0.02;  //!< of initial values
  double clip = 1.0;                //!< largest gradient norm; 0: none
  Numerics numerics{};
  Start start = Start::random;
};

namespace detail {

inline const TrainerOptions& checked_options(const TrainerOptions& options) {
  const StepShape& shape = options.shape;
  if (shape.sequences < 1 || shape.length < 1 || shape.micro_steps < 1 || shape.receive_rows < 0)
    throw Error{"moepar::Trainer: the step has " + std::to_string(shape.sequences) + " sequences of " +
                std::to_string(shape.length) + " tokens a rank, " + std::to_string(shape.micro_steps) +
                " micro-steps and receive_rows " + std::to_string(shape.receive_rows) +
                ". Fix: give at least 1 of the first three, and 0 or more receive_rows."};
  constexpr Index most = Index{1} << 31;
  if (shape.sequences > most / shape.length || shape.sequences > (Index{1} << 20) / shape.micro_steps)
    throw Error{
        "moepar::Trainer: " + std::to_string(shape.sequences) + " sequences of " + std::to_string(shape.length) +
        " tokens a rank, " + std::to_string(shape.micro_steps) +
        " micro-steps are too many. Fix: at most 2^31 tokens a micro-step and 2^20 sequences a step on a rank."};
  const Numerics& numerics = options.numerics;
  const auto fits = [](double value, double least) { return value >= least && value <= 1e30; };
  if (!fits(options.clip, 0) || !fits(options.initial_deviation, 0) || !fits(numerics.norm_epsilon, 0) ||
      !fits(numerics.rotary_theta, 1) || !fits(numerics.auxiliary_loss_coefficient, 0) ||
      !fits(numerics.z_loss_coefficient, 0))
    throw Error{"moepar::Trainer: clip " + std::to_string(options.clip) + ", initial_deviation " +
                std::to_string(options.initial_deviation) + ", norm_epsilon " + std::to_string(numerics.norm_epsilon) +
                ", rotary_theta " + std::to_string(numerics.rotary_theta) + ", auxiliary_loss_coefficient " +
                std::to_string(numerics.auxiliary_loss_coefficient) + ", z_loss_coefficient " +
                std::to_string(numerics.z_loss_coefficient) +
                ": one of them cannot be. Fix: give finite numbers of at least 0, rotary_theta of at least 1."};
  if (shape.precision != Precision::f32)
    throw Error{"moepar::Trainer: training in bf16 is not here yet. Fix: use Precision::f32."};
  return options;
}

inline const AdamW& checked_optimizer(const AdamW& optimizer) {
  const auto rate = [](double value) { return value >= 0 && value <= 1e10; };
  const auto beta = [](double value) { return value >= 0 && value < 1; };
  if (!rate(optimizer.learning_rate) || !beta(optimizer.beta1) || !beta(optimizer.beta2) ||
      !(optimizer.epsilon > 0 && optimizer.epsilon < 1) || !rate(optimizer.weight_decay))
    throw Error{"moepar::AdamW: learning_rate " + std::to_string(optimizer.learning_rate) + ", beta1 " +
                std::to_string(optimizer.beta1) + ", beta2 " + std::to_string(optimizer.beta2) + ", epsilon " +
                std::to_string(optimizer.epsilon) + ", weight_decay " + std::to_string(optimizer.weight_decay) +
                ": one of them cannot be. Fix: betas in [0, 1), epsilon in (0, 1), the others finite and at least 0."};
  return optimizer;
}

//! Of all that must be alike on every rank.
inline std::uint64_t settings_hash(const TrainerOptions& options, const AdamW& optimizer, const Layout& layout) {
  std::uint64_t hash = options.seed;
  const auto add = [&](double value) { hash = mix(hash + 1) ^ hashed_bits(value); };
  const StepShape& shape = options.shape;
  const Numerics& numerics = options.numerics;
  for (const double value : {options.initial_deviation, options.clip, numerics.norm_epsilon, numerics.rotary_theta,
                             numerics.auxiliary_loss_coefficient, numerics.z_loss_coefficient, optimizer.learning_rate,
                             optimizer.beta1, optimizer.beta2, optimizer.epsilon, optimizer.weight_decay,
                             optimizer.decay_norms ? 1.0 : 0.0, options.start == Start::loaded ? 1.0 : 0.0})
    add(value);
  for (const Index value : {shape.sequences, shape.length, shape.micro_steps, shape.receive_rows, layout.world,
                            layout.expert, layout.dense_shard, layout.expert_shard, numerics.padding_token})
    add(static_cast<double>(value));
  for (const Index factor : shape.factors) add(static_cast<double>(factor));
  return hash;
}

}  // namespace detail
}  // namespace moepar
