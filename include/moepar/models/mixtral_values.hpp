// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <string>

#include <moepar/core/index.hpp>
#include <moepar/models/mixtral_sizes.hpp>

namespace moepar {

//! What a config.json says about a Mixtral, under the names and with the defaults of Hugging Face's transformers.
struct MixtralConfig {
  MixtralSizes sizes{};
  double rms_norm_eps = 1e-5;
  double rope_theta = 1e6;
  double router_aux_loss_coef = 0.001;
  double initializer_range = 0.02;    //!< standard deviation of initial weights
  double router_jitter_noise = 0;     //!< only 0 is read
  bool output_router_logits = false;  //!< whether transformers adds the auxiliary loss in training
  Index max_position_embeddings = 131072;
  Index bos_token_id = 1;   //!< -1: none
  Index eos_token_id = 2;   //!< -1: none
  Index pad_token_id = -1;  //!< -1: none; else its embedding learns nothing
  std::string dtype{};  //!< of stored weights: float32, bfloat16, float16 or float64; empty where the file names none

  friend bool operator==(const MixtralConfig&, const MixtralConfig&) = default;
};

}  // namespace moepar
