// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <moepar/core/index.hpp>
#include <moepar/device/numerics.hpp>

namespace moepar {

//! What a model program knows of its model beside the type. Texts are not owned.
struct ProgramFacts {
  double norm_epsilon = 1e-5;
  double rotary_theta = 1e6;
  double initial_deviation = 0.02;
  double auxiliary_loss_coefficient = 0.001;  //!< unless the command line gives another
  Index padding_token = -1;                   //!< whose embedding learns nothing; -1: none
  Index top_k = 0, heads = 0;                 //!< compared with the config.json of weights; 0: not
  std::int32_t bos = 1, eos = 2;              //!< first token of a text without a prompt; where generate may stop
  const char* config = "";                    //!< the config.json that is written beside weights

  [[nodiscard]] Numerics numerics(double auxiliary_loss, double z_loss) const {
    return {.norm_epsilon = norm_epsilon,
            .rotary_theta = rotary_theta,
            .auxiliary_loss_coefficient = auxiliary_loss,
            .padding_token = padding_token,
            .z_loss_coefficient = z_loss};
  }
};

}  // namespace moepar
