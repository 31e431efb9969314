// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <moepar/core/index.hpp>

namespace moepar {

//! What a policy looks at together: one sequence, or the whole batch of a step. Never a rank's share of it.
enum class Scope { sequence, round };

//! What the routers of a micro-step add up on one rank, by granule: the load report, and what an auxiliary loss needs.
//! Does not own its memory.
template <class Element> struct RouterTotals {
  Index layers = 0, granules = 0, experts = 0;
  Index next_layer = 0;              //!< that will route
  bool balances = false;             //!< some policy has an auxiliary loss
  Scope scope = Scope::sequence;     //!< of that loss
  Index* counts = nullptr;           //!< layers x granules x experts: tokens sent
  double* probabilities = nullptr;   //!< granules x experts, over all layers
  double* z_losses = nullptr;        //!< granules, over all layers: sums of squared log-sum-exp
  double* sinkhorn_error = nullptr;  //!< granules: imbalance that Sinkhorn left, the largest of all layers
  Element z_scale = 0;               //!< factor of log-sum-exp in the gradient of the z-loss; 0: there is none
  Element* balance = nullptr;        //!< granules x experts: gradient of the auxiliary loss by a token's probability

  [[nodiscard]] Index* counts_of(Index layer) const { return counts + layer * granules * experts; }
};

}  // namespace moepar
