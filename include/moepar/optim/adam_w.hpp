// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/adam_w.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/optim/parameter_list.hpp>
#include <moepar/optim/tied.hpp>
#include <moepar/tensor/parameter.hpp>
#include <span>
#include <vector>

namespace moepar {

//! AdamW (Loshchilov and Hutter 2019). The learning rate is the peak of the schedule that a trainer follows.
struct AdamW {
  double learning_rate = 1e-3;
  double beta1 = 0.9;
  double beta2 = 0.999;
  double epsilon = 1e-8;
  double weight_decay = 0.01;
  bool decay_norms = true;  //!< as torch's AdamW does; false: norms keep out of weight decay
};

//! First and second moments of what a rank keeps, and how many steps were made.
class AdamWState {
 public:
  //! rank: of which `held` says how much there is.
  template <class Rank> explicit AdamWState(Rank& rank) {
    for (Index i = 0; i < placements; ++i) {
      const auto held = static_cast<std::size_t>(rank.held(static_cast<Placement>(i)).size.held);
      first_[static_cast<std::size_t>(i)].assign(held, 0.0f);
      second_[static_cast<std::size_t>(i)].assign(held, 0.0f);
    }
  }

  //! One step over all parameters. clip: factor of every gradient.
  template <class Rank>
  void step(Rank& rank, const std::vector<ListedParameter>& parameters, const AdamW& options, double learning_rate,
            double clip) {
    beta1_power_ *= options.beta1;
    beta2_power_ *= options.beta2;
    ++steps_;
    for (const ListedParameter& listed : parameters) {
      const Parameter& parameter = listed.parameter;
      const double decay = parameter.initial == Initial::one && !options.decay_norms ? 0.0 : options.weight_decay;
      cpu::adam_w(rank.device().workers(),
                  cpu::adam_w_step(learning_rate, options.beta1, options.beta2, options.epsilon, decay, clip,
                                   beta1_power_, beta2_power_),
                  rank.kept(parameter), first(parameter, rank), second(parameter, rank), rank.kept_gradient(parameter));
      copy_to_uses(rank, listed);
    }
  }

  //! The moments of what `rank` keeps of a parameter.
  template <class Rank> std::span<float> first(const Parameter& parameter, Rank& rank) {
    return part(first_, parameter, rank);
  }
  template <class Rank> std::span<float> second(const Parameter& parameter, Rank& rank) {
    return part(second_, parameter, rank);
  }
  [[nodiscard]] Index steps() const { return steps_; }
  //! beta1 and beta2 to the power of steps(): what a checkpoint keeps, since they are products, not powers.
  [[nodiscard]] double beta1_power() const { return beta1_power_; }
  [[nodiscard]] double beta2_power() const { return beta2_power_; }
  //! As before the first step.
  void forget() {
    for (Moments* moments : {&first_, &second_})
      for (auto& of_placement : *moments) std::fill(of_placement.begin(), of_placement.end(), 0.0f);
    restore(0, 1, 1);
  }
  //! Goes on after `steps` steps whose moments were put in place.
  void restore(Index steps, double beta1_power, double beta2_power) {
    steps_ = steps;
    beta1_power_ = beta1_power;
    beta2_power_ = beta2_power;
  }

 private:
  using Moments = std::array<std::vector<float>, static_cast<std::size_t>(placements)>;
  template <class Rank> static std::span<float> part(Moments& moments, const Parameter& parameter, Rank& rank) {
    return std::span{moments[static_cast<std::size_t>(parameter.placement)]}.subspan(
        static_cast<std::size_t>(parameter.held), rank.kept(parameter).size());
  }

  Moments first_, second_;
  double beta1_power_ = 1, beta2_power_ = 1;  //!< by multiplication, so that a resumed run has the same bits
  Index steps_ = 0;
};

}  // namespace moepar
