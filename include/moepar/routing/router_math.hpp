// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstdint>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/elementary.hpp>

// The arithmetic of routers, one token at a time. A row has few elements, so sums run in index order.
namespace moepar::detail {

template <class Element> struct RowSoftmax {
  Element maximum, sum;
  [[nodiscard]] Element probability(Element logit) const { return cpu::detail::exp_of(logit - maximum) / sum; }
  [[nodiscard]] Element log_sum_exp() const { return cpu::detail::log_sum_exp_of(maximum, sum); }
};

template <class Element>
[[gnu::always_inline]] inline RowSoftmax<Element> row_softmax(const Element* row, Index count) {
  Element maximum = row[0], sum = 0;
  for (Index i = 1; i < count; ++i) maximum = row[i] > maximum ? row[i] : maximum;
  for (Index i = 0; i < count; ++i) sum += cpu::detail::exp_of(row[i] - maximum);
  return {maximum, sum};
}

//! Softmax over the chosen logits; the first chosen one is the largest.
template <class Element>
[[gnu::always_inline]] inline void weights_of_chosen(const Element* logits, const std::int32_t* chosen, Index top_k,
                                                     Element* weight) {
  Element maximum = logits[chosen[0]], sum = 0;
  for (Index slot = 1; slot < top_k; ++slot) maximum = logits[chosen[slot]] > maximum ? logits[chosen[slot]] : maximum;
  for (Index slot = 0; slot < top_k; ++slot) {
    weight[slot] = cpu::detail::exp_of(logits[chosen[slot]] - maximum);
    sum += weight[slot];
  }
  for (Index slot = 0; slot < top_k; ++slot) weight[slot] /= sum;
}

//! Sets the gradient of all `experts` logits: w (dw - sum of w dw) at the chosen ones.
template <class Element>
[[gnu::always_inline]] inline void gradient_of_chosen(const std::int32_t* chosen, Index top_k, const Element* weight,
                                                      const Element* weight_gradient, Index experts,
                                                      Element* logits_gradient) {
  Element mean = 0;
  for (Index slot = 0; slot < top_k; ++slot) mean = std::fma(weight[slot], weight_gradient[slot], mean);
  for (Index e = 0; e < experts; ++e) logits_gradient[e] = 0;
  for (Index slot = 0; slot < top_k; ++slot)
    logits_gradient[chosen[slot]] = weight[slot] * (weight_gradient[slot] - mean);
}

//! Weights of the Sinkhorn policy: sigmoid for one slot, else the softmax over all experts at the chosen ones.
template <class Element>
[[gnu::always_inline]] inline void weights_among_all(const Element* logits, Index experts, const std::int32_t* chosen,
                                                     Index top_k, Element* weight) {
  if (top_k == 1) {
    weight[0] = cpu::detail::sigmoid_of(logits[chosen[0]]);
    return;
  }
  const auto softmax = row_softmax(logits, experts);
  for (Index slot = 0; slot < top_k; ++slot) weight[slot] = softmax.probability(logits[chosen[slot]]);
}

template <class Element>
[[gnu::always_inline]] inline void gradient_among_all(const Element* logits, Index experts, const std::int32_t* chosen,
                                                      Index top_k, const Element* weight,
                                                      const Element* weight_gradient, Element* logits_gradient) {
  for (Index e = 0; e < experts; ++e) logits_gradient[e] = 0;
  if (top_k == 1) {
    logits_gradient[chosen[0]] = weight[0] * (1 - weight[0]) * weight_gradient[0];
    return;
  }
  Element mean = 0;
  for (Index slot = 0; slot < top_k; ++slot) mean = std::fma(weight[slot], weight_gradient[slot], mean);
  const auto softmax = row_softmax(logits, experts);
  for (Index e = 0; e < experts; ++e) logits_gradient[e] = softmax.probability(logits[e]) * (0 - mean);
  for (Index slot = 0; slot < top_k; ++slot)
    logits_gradient[chosen[slot]] = weight[slot] * (weight_gradient[slot] - mean);
}

//! Adds the gradient of terms in the probabilities p (of which `by_probability` is the derivative; nullptr: none) and
//! of z_scale x log-sum-exp^2 / 2.
template <class Element>
[[gnu::always_inline]] inline void add_probability_terms(const Element* logits, Index experts,
                                                         const Element* by_probability, Element z_scale,
                                                         Element* logits_gradient) {
  const auto softmax = row_softmax(logits, experts);
  Element mean = 0;
  if (by_probability != nullptr)
    for (Index e = 0; e < experts; ++e) mean = std::fma(softmax.probability(logits[e]), by_probability[e], mean);
  const Element log_sum_exp = softmax.log_sum_exp();
  for (Index e = 0; e < experts; ++e) {
    const Element term =
        std::fma(z_scale, log_sum_exp, by_probability != nullptr ? by_probability[e] - mean : Element{0});
    logits_gradient[e] = std::fma(softmax.probability(logits[e]), term, logits_gradient[e]);
  }
}

}  // namespace moepar::detail
