// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <moepar/comm/ledger.hpp>
#include <moepar/core/index.hpp>
#include <moepar/tensor/router_totals.hpp>
#include <span>

// The auxiliary loss between forward and backward: from counts and probabilities of all layers to the gradient by the
// probability of each expert. For one scope of T tokens, L layers and N experts, with c_e the rows sent to expert e and
// P_e the sum of its probabilities over tokens and layers:
//   loss = N sum over e of (c_e / (L T)) (P_e / (L T)),   d loss / d p = N c_e / (L T)^2   for every token and layer.
// Sequences are weighted by their tokens, so that the loss of a batch is a mean over tokens in every scope.
namespace moepar {

//! Fills totals.balance for the sequences of this micro-step. counts_of_round: scratch of `experts` numbers, which the
//! round's scope adds up over the world. coefficient: of the loss; tokens: of the whole batch.
template <class Rank> constexpr void close_balance(Rank& rank, std::int64_t* counts_of_round) {
  auto& totals = rank.totals();
  if (!totals.balances) return;
  const Index experts = totals.experts;
  if (totals.scope == Scope::round)
    rank.ledger().add(Axis::world, Operation::sum, experts * static_cast<Index>(sizeof(std::int64_t)));
  if constexpr (!Rank::counting) {
    using Element = typename Rank::Element;
    const double layers = static_cast<double>(totals.layers);
    const auto sequence_tokens = [&](Index granule) {
      return rank.rows().begins[granule + 1] - rank.rows().begins[granule];
    };
    const auto over_layers = [&](Index granule, Index expert) {
      Index sum = 0;
      for (Index layer = 0; layer < totals.layers; ++layer) sum += totals.counts_of(layer)[granule * experts + expert];
      return sum;
    };
    if (totals.scope == Scope::round) {
      for (Index e = 0; e < experts; ++e) {
        counts_of_round[e] = 0;
        for (Index g = 0; g < totals.granules; ++g) counts_of_round[e] += over_layers(g, e);
      }
      if constexpr (Rank::communicates)
        rank.axes().world.sum(std::span<std::int64_t>{counts_of_round, static_cast<std::size_t>(experts)});
    }
    const double all_tokens = static_cast<double>(rank.batch().tokens);
    for (Index g = 0; g < totals.granules; ++g) {
      const bool round = totals.scope == Scope::round;
      const double tokens = round ? all_tokens : static_cast<double>(sequence_tokens(g));
      for (Index e = 0; e < experts; ++e) {
        const double sent = static_cast<double>(round ? counts_of_round[e] : over_layers(g, e));
        const double share = tokens == 0 ? 0 : sent / (layers * tokens);
        totals.balance[g * experts + e] = static_cast<Element>(
            rank.numerics().auxiliary_loss_coefficient * static_cast<double>(experts) * share / (layers * all_tokens));
      }
    }
  }
}

//! What a sequence adds to the auxiliary loss of the batch, times the tokens of the batch. counts_of_round: as
//! close_balance left it.
template <class Rank> double balance_of_sequence(Rank& rank, Index granule, const std::int64_t* counts_of_round) {
  const auto& totals = rank.totals();
  const Index experts = totals.experts;
  const auto tokens = static_cast<double>(rank.rows().begins[granule + 1] - rank.rows().begins[granule]);
  const bool round = totals.scope == Scope::round;
  const auto layers = static_cast<double>(totals.layers);
  const double scale = layers * (round ? static_cast<double>(rank.batch().tokens) : tokens);
  double sum = 0;
  for (Index e = 0; e < experts && tokens > 0; ++e) {
    Index sent = round ? counts_of_round[e] : 0;
    for (Index layer = 0; layer < totals.layers && !round; ++layer)
      sent += totals.counts_of(layer)[granule * experts + e];
    sum = std::fma(static_cast<double>(sent) / scale, totals.probabilities[granule * experts + e] / layers, sum);
  }
  return static_cast<double>(experts) * sum;
}

}  // namespace moepar
