// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/logarithm.hpp>

// The losses of a model that looks at no context: a language model that has learnt anything is below them.

namespace moepar {
namespace detail {

//! How often each token occurs. Throws Error for no token at all and for one outside the vocabulary.
inline std::vector<Index> token_counts(std::span<const std::int32_t> tokens, Index vocabulary) {
  if (vocabulary < 1 || tokens.empty())
    throw Error{"moepar::unigram_entropy: " + std::to_string(tokens.size()) + " tokens of a vocabulary of " +
                std::to_string(vocabulary) + ". Fix: give at least one token and a vocabulary of at least 1."};
  std::vector<Index> counts(static_cast<std::size_t>(vocabulary));
  for (std::size_t place = 0; place < tokens.size(); ++place) {
    if (tokens[place] < 0 || tokens[place] >= vocabulary)
      throw Error{"moepar::unigram_entropy: token " + std::to_string(tokens[place]) + " at place " +
                  std::to_string(place) + " is outside the vocabulary 0.." + std::to_string(vocabulary - 1) +
                  ". Fix: give the vocabulary of the tokenizer that made the tokens."};
    ++counts[static_cast<std::size_t>(tokens[place])];
  }
  return counts;
}

}  // namespace detail

//! Entropy of the token frequencies, in nats: the least loss on `tokens` of a model that always predicts one
//! distribution. The same bits everywhere.
[[nodiscard]] inline double unigram_entropy(std::span<const std::int32_t> tokens, Index vocabulary) {
  double sum = 0;
  for (const Index count : detail::token_counts(tokens, vocabulary))
    if (count > 0) sum = std::fma(static_cast<double>(count), log64(static_cast<double>(count)), sum);
  const auto total = static_cast<double>(tokens.size());
  return log64(total) - sum / total;
}

//! Loss on `evaluation`, in nats, of predicting the frequencies of `training`, each count plus one so that a token new
//! to training costs much but not everything. What a trained model's evaluation loss is compared with.
[[nodiscard]] inline double unigram_cross_entropy(std::span<const std::int32_t> training,
                                                  std::span<const std::int32_t> evaluation, Index vocabulary) {
  const std::vector<Index> predicted = detail::token_counts(training, vocabulary);
  const std::vector<Index> observed = detail::token_counts(evaluation, vocabulary);
  double sum = 0;
  for (std::size_t token = 0; token < observed.size(); ++token)
    if (observed[token] > 0)
      sum = std::fma(static_cast<double>(observed[token]), log64(static_cast<double>(predicted[token] + 1)), sum);
  return log64(static_cast<double>(static_cast<Index>(training.size()) + vocabulary)) -
         sum / static_cast<double>(evaluation.size());
}

}  // namespace moepar
