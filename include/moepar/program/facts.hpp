// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <moepar/device/numerics.hpp>

namespace moepar {

//! What a model program knows of its model beside the type. Texts are not owned.
struct ProgramFacts {
  double norm_epsilon = 1e-5;
  double rotary_theta = 1e6;
  double initial_deviation = 0.02;
  double auxiliary_loss_coefficient = 0.001;  //!< unless the command line gives another
  std::int32_t bos = 1, eos = 2;
  const char* config = "";  //!< the config.json that is written beside weights

  [[nodiscard]] Numerics numerics(double auxiliary_loss, double z_loss) const {
    return {.norm_epsilon = norm_epsilon,
            .rotary_theta = rotary_theta,
            .auxiliary_loss_coefficient = auxiliary_loss,
            .z_loss_coefficient = z_loss};
  }
};

}  // namespace moepar
