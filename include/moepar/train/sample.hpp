// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <moepar/core/exponential.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/random.hpp>
#include <numeric>
#include <span>
#include <vector>

namespace moepar {

//! How tokens are drawn from logits.
struct Sampling {
  double temperature = 0.8;  //!< 0: the likeliest token, the lower one of equals
  double top_p = 1;          //!< only the likeliest tokens that together have this probability (Holtzman et al. 2020)
  std::uint64_t seed = 1;
  std::int32_t end = -1;  //!< the token that ends a text; -1: none
};

namespace detail {

//! Draws among the likeliest tokens whose weights first reach `wanted`, at least one. drawn: in (0, 1).
template <class Weight>
std::int32_t sample_nucleus(std::span<const float> logits, Weight weight, double wanted, double drawn) {
  std::vector<std::int32_t> order(logits.size());
  std::iota(order.begin(), order.end(), 0);
  const auto logit = [&](std::int32_t token) {  // a NaN, which has no order, comes last
    const float value = logits[static_cast<std::size_t>(token)];
    return value == value ? value : -std::numeric_limits<float>::infinity();
  };
  std::sort(order.begin(), order.end(),
            [&](auto a, auto b) { return logit(a) != logit(b) ? logit(a) > logit(b) : a < b; });
  std::size_t kept = 0;
  double total = 0;
  do total += weight(logit(order[kept++]));
  while (kept < order.size() && total < wanted);
  double left = drawn * total;
  for (std::size_t i = 0; i < kept; ++i) {
    left -= weight(logit(order[i]));
    if (left < 0) return order[i];
  }
  return order[0];
}

}  // namespace detail

//! Draws token number `position` of a text from the logits of the vocabulary. The same on every rank and machine.
inline std::int32_t sample_token(std::span<const float> logits, const Sampling& sampling, Index position) {
  const auto largest = std::max_element(logits.begin(), logits.end());
  if (!(sampling.temperature > 0)) return static_cast<std::int32_t>(largest - logits.begin());
  const auto weight = [&](float logit) {
    return exp64((static_cast<double>(logit) - static_cast<double>(*largest)) / sampling.temperature);
  };
  double total = 0;
  for (const float logit : logits) total += weight(logit);
  const double drawn = uniform(random_word(random_key(sampling.seed, "sample"), 0, position));
  if (sampling.top_p < 1) return detail::sample_nucleus(logits, weight, total * sampling.top_p, drawn);
  double left = drawn * total;
  for (std::size_t i = 0; i < logits.size(); ++i) {
    left -= weight(logits[i]);
    if (left < 0) return static_cast<std::int32_t>(i);
  }
  return static_cast<std::int32_t>(largest - logits.begin());
}

//! `prompt` and `count` more tokens, or those up to an end token, each drawn from what the last shape.length of them
//! make likely. trainer: see Trainer::next_token_logits; called by all ranks. An empty prompt starts with token 0.
template <class Trainer>
std::vector<std::int32_t> sample_text(Trainer& trainer, std::span<const std::int32_t> prompt, Index count,
                                      const Sampling& sampling = {}) {
  std::vector<std::int32_t> text{prompt.begin(), prompt.end()};
  if (text.empty()) text.push_back(0);
  for (Index i = 0; i < count; ++i) {
    const auto window = std::min(text.size(), static_cast<std::size_t>(trainer.options().shape.length));
    const auto logits = trainer.next_token_logits(std::span<const std::int32_t>{text}.last(window));
    text.push_back(sample_token(logits, sampling, i));
    if (text.back() == sampling.end) break;
  }
  return text;
}

}  // namespace moepar
