// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstdint>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/routing/policy.hpp>
#include <moepar/routing/route_plan.hpp>
#include <moepar/routing/router_math.hpp>
#include <moepar/routing/top_k.hpp>
#include <moepar/tensor/matrix.hpp>
#include <string>

namespace moepar::detail {

//! What policies turn scores into: weights, and their gradient back into that of the logits.
template <class Element> struct TokenRouting {
  const Element* logits;
  Index experts, top_k;
  const std::int32_t* chosen;
};

template <class Element>
[[gnu::always_inline]] inline void weights_of(const TopKSoftmax&, const TokenRouting<Element>& token, Element* weight) {
  weights_of_chosen(token.logits, token.chosen, token.top_k, weight);
}
template <class Element>
[[gnu::always_inline]] inline void gradient_of(const TopKSoftmax&, const TokenRouting<Element>& token,
                                               const Element* weight, const Element* weight_gradient,
                                               Element* logits_gradient) {
  gradient_of_chosen(token.chosen, token.top_k, weight, weight_gradient, token.experts, logits_gradient);
}
template <Scope Over, class Element>
[[gnu::always_inline]] inline void weights_of(const SinkhornOver<Over>&, const TokenRouting<Element>& token,
                                              Element* weight) {
  weights_among_all(token.logits, token.experts, token.chosen, token.top_k, weight);
}
template <Scope Over, class Element>
[[gnu::always_inline]] inline void gradient_of(const SinkhornOver<Over>&, const TokenRouting<Element>& token,
                                               const Element* weight, const Element* weight_gradient,
                                               Element* logits_gradient) {
  gradient_among_all(token.logits, token.experts, token.chosen, token.top_k, weight, weight_gradient, logits_gradient);
}

[[noreturn]] inline void throw_nan_logit(Index rank, Index layer, Index granule, Index position, Index expert) {
  throw Error{"moepar::Router: the logit of expert " + std::to_string(expert) + " is not a number, on rank " +
              std::to_string(rank) + " in routed layer " + std::to_string(layer) + ", sequence " +
              std::to_string(granule) + " of this rank's micro-step, position " + std::to_string(position) +
              ". Fix: look for the first loss or gradient norm that is not finite; a lower learning rate helps often."};
}

//! One sequence: chooses experts by `scores`, weighs them by `logits`, counts. Returns the first NaN as
//! position * experts + expert, or -1.
struct SelectBody {
  template <class Policy, class Element, class Score>
  [[gnu::always_inline]] static inline void run(Policy policy, ConstMatrix<Element> logits, Matrix<const Score> scores,
                                                Index begin, Index end, RoutePlan<Element> plan, Index* counts,
                                                double* probabilities, double* z_loss, Index* not_a_number) {
    const Index experts = logits.columns;
    *not_a_number = -1;
    for (Index e = 0; e < experts; ++e) counts[e] = 0;
    for (Index t = begin; t < end; ++t) {
      const Element* row = logits.row(t);
      for (Index e = 0; e < experts; ++e)
        if (!(row[e] == row[e]) && *not_a_number < 0) *not_a_number = (t - begin) * experts + e;
      std::int32_t* chosen = plan.expert + t * plan.top_k;
      top_k(scores.row(t), experts, plan.top_k, chosen);
      weights_of(policy, TokenRouting<Element>{row, experts, plan.top_k, chosen}, plan.weight + t * plan.top_k);
      for (Index slot = 0; slot < plan.top_k; ++slot) ++counts[chosen[slot]];
      if (probabilities == nullptr && z_loss == nullptr) continue;
      const auto softmax = row_softmax(row, experts);
      if (probabilities != nullptr)
        for (Index e = 0; e < experts; ++e) probabilities[e] += static_cast<double>(softmax.probability(row[e]));
      if (z_loss != nullptr) {
        const auto value = static_cast<double>(softmax.log_sum_exp());
        *z_loss = std::fma(value, value, *z_loss);
      }
    }
  }
};

//! One sequence: the gradient of the logits from that of the weights, of the balance term and of the z-loss.
struct RouterGradientBody {
  template <class Policy, class Element>
  [[gnu::always_inline]] static inline void run(Policy policy, ConstMatrix<Element> logits, Index begin, Index end,
                                                RoutePlan<Element> plan, const Element* weight_gradient,
                                                const Element* balance, Element z_scale,
                                                Matrix<Element> logits_gradient) {
    for (Index t = begin; t < end; ++t) {
      const TokenRouting<Element> token{logits.row(t), logits.columns, plan.top_k, plan.expert + t * plan.top_k};
      gradient_of(policy, token, plan.weight + t * plan.top_k, weight_gradient + t * plan.top_k,
                  logits_gradient.row(t));
      if (balance != nullptr || z_scale != 0)
        add_probability_terms(token.logits, token.experts, balance, z_scale, logits_gradient.row(t));
    }
  }
};

}  // namespace moepar::detail
