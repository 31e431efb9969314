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
  bool by_layer = false;             //!< each layer has a loss of its own
  Index* counts = nullptr;           //!< layers x granules x experts: tokens sent
  double* probabilities = nullptr;   //!< layers x granules x experts, or the first granules x experts over all layers
  double* z_losses = nullptr;        //!< granules, over all layers: sums of squared log-sum-exp
  double* sinkhorn_error = nullptr;  //!< granules: imbalance that Sinkhorn left, the largest of all layers
  Element z_scale = 0;               //!< factor of log-sum-exp in the gradient of the z-loss; 0: there is none
  Element* balance = nullptr;        //!< gradient of the auxiliary loss by a token's probability; as probabilities

  [[nodiscard]] Index* counts_of(Index layer) const { return counts + layer * granules * experts; }
  [[nodiscard]] double* probabilities_of(Index layer, Index granule) const {
    return probabilities + balanced_at(layer, granule);
  }
  [[nodiscard]] Element* balance_of(Index layer, Index granule) const { return balance + balanced_at(layer, granule); }

 private:
  [[nodiscard]] Index balanced_at(Index layer, Index granule) const {
    return ((by_layer ? layer : 0) * granules + granule) * experts;
  }
};

}  // namespace moepar
