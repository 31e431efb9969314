// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <moepar/comm/ledger.hpp>
#include <moepar/core/index.hpp>
#include <moepar/tensor/router_totals.hpp>
#include <span>

// The auxiliary loss between forward and backward: from counts and probabilities to the gradient by the probability of
// each expert. For one scope of T tokens, L layers and N experts, with c_e the rows sent to expert e and P_e the sum of
// its probabilities, both over tokens and layers, all layers together have (transformers)
//   loss = N sum over e of (c_e / (L T)) (P_e / (L T)),   d loss / d p = N c_e / (L T)^2   for every token and layer.
// By layer (Megatron-LM) the same is done with L = 1 and divided by TopK, which is sum of c_e / T, and layers are
// added. Sequences are weighted by their tokens, so that the loss of a batch is a mean over tokens in every scope.
namespace moepar {

namespace detail {

//! The layers that share a loss: all of them, or each alone.
struct BalancedLayers {
  Index first, last;
  [[nodiscard]] Index count() const { return last - first; }
};

template <class Element, class Visit> void for_each_balance(const RouterTotals<Element>& totals, Visit visit) {
  if (!totals.by_layer)
    visit(BalancedLayers{0, totals.layers});
  else
    for (Index layer = 0; layer < totals.layers; ++layer) visit(BalancedLayers{layer, layer + 1});
}

//! Rows sent to `expert` by a sequence in these layers.
template <class Element>
Index rows_sent(const RouterTotals<Element>& totals, const BalancedLayers& layers, Index granule, Index expert) {
  Index sum = 0;
  for (Index layer = layers.first; layer < layers.last; ++layer)
    sum += totals.counts_of(layer)[granule * totals.experts + expert];
  return sum;
}

//! What a loss by layer is divided by: TopK.
template <class Sent> double balance_divisor(bool by_layer, Index experts, double tokens, Sent sent) {
  if (!by_layer || tokens == 0) return 1;
  Index all = 0;
  for (Index e = 0; e < experts; ++e) all += sent(e);
  return static_cast<double>(all) / tokens;
}

}  // namespace detail

//! Fills totals.balance for the sequences of this micro-step. counts_of_round: scratch of layers x experts numbers,
//! which the round's scope adds up over the world.
template <class Rank> constexpr void close_balance(Rank& rank, std::int64_t* counts_of_round) {
  auto& totals = rank.totals();
  if (!totals.balances) return;
  const Index experts = totals.experts, numbers = experts * (totals.by_layer ? totals.layers : 1);
  const bool round = totals.scope == Scope::round;
  if (round) rank.ledger().add(Axis::world, Operation::sum, numbers * static_cast<Index>(sizeof(std::int64_t)));
  if constexpr (!Rank::counting) {
    using Element = typename Rank::Element;
    if (round) {
      std::int64_t* at = counts_of_round;
      detail::for_each_balance(totals, [&](const detail::BalancedLayers& layers) {
        for (Index e = 0; e < experts; ++e, ++at) {
          *at = 0;
          for (Index g = 0; g < totals.granules; ++g) *at += detail::rows_sent(totals, layers, g, e);
        }
      });
      if constexpr (Rank::communicates)
        rank.axes().world.sum(std::span<std::int64_t>{counts_of_round, static_cast<std::size_t>(numbers)});
    }
    const double all_tokens = static_cast<double>(rank.batch().tokens);
    const std::int64_t* of_round = counts_of_round;
    detail::for_each_balance(totals, [&](const detail::BalancedLayers& layers) {
      const auto count = static_cast<double>(layers.count());
      for (Index g = 0; g < totals.granules; ++g) {
        const double tokens =
            round ? all_tokens : static_cast<double>(rank.rows().begins[g + 1] - rank.rows().begins[g]);
        const auto sent = [&](Index e) { return round ? of_round[e] : detail::rows_sent(totals, layers, g, e); };
        const double divisor = detail::balance_divisor(totals.by_layer, experts, tokens, sent);
        for (Index e = 0; e < experts; ++e) {
          const double share = tokens == 0 ? 0 : static_cast<double>(sent(e)) / (count * tokens);
          totals.balance_of(layers.first, g)[e] =
              static_cast<Element>(rank.numerics().auxiliary_loss_coefficient * static_cast<double>(experts) * share /
                                   (count * all_tokens) / divisor);
        }
      }
      of_round += experts;
    });
  }
}

//! What a sequence adds to the auxiliary loss of the batch, times the tokens of the batch. counts_of_round: as
//! close_balance left it.
template <class Rank> double balance_of_sequence(Rank& rank, Index granule, const std::int64_t* counts_of_round) {
  const auto& totals = rank.totals();
  const Index experts = totals.experts;
  const auto own_tokens = static_cast<double>(rank.rows().begins[granule + 1] - rank.rows().begins[granule]);
  if (own_tokens == 0) return 0;
  const bool round = totals.scope == Scope::round;
  const double tokens = round ? static_cast<double>(rank.batch().tokens) : own_tokens;
  double loss = 0;
  detail::for_each_balance(totals, [&](const detail::BalancedLayers& layers) {
    const auto count = static_cast<double>(layers.count());
    const auto sent = [&](Index e) {
      return round ? counts_of_round[e] : detail::rows_sent(totals, layers, granule, e);
    };
    const double* probabilities = totals.probabilities_of(layers.first, granule);
    double sum = 0;
    for (Index e = 0; e < experts; ++e)
      sum = std::fma(static_cast<double>(sent(e)) / (count * tokens), probabilities[e] / count, sum);
    loss += static_cast<double>(experts) * sum / detail::balance_divisor(totals.by_layer, experts, tokens, sent);
    counts_of_round += experts;
  });
  return loss;
}

}  // namespace moepar
