// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>

namespace moepar {

//! Numbers that a model fixes once for all its layers; part of the numerical contract.
struct Numerics {
  double norm_epsilon = 1e-5;
  double rotary_theta = 1e6;                 //!< base of the rotary position embedding
  double auxiliary_loss_coefficient = 0.02;  //!< used by policies with an auxiliary loss
  Index padding_token = -1;                  //!< its row of the embedding table has no gradient; -1: there is none
  double z_loss_coefficient = 0.0;           //!< of the mean squared log-sum-exp of router logits (Zoph et al. 2022)
};

}  // namespace moepar
