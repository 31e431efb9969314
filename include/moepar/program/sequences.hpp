// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <moepar/core/error.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/row_order.hpp>
#include <moepar/data/token_sequences.hpp>
#include <moepar/train/trainer.hpp>
#include <span>

namespace moepar {

//! Row i of a data set, for Trainer::evaluate and logits; for gradients, whose batch may be larger.
inline auto rows_of(const TokenSequences& data) {
  return [&data](Index i) {
    if (i >= data.size()) return Sequence{};
    const auto row = data.sequence(i);
    return Sequence{row.ids, row.targets};
  };
}

//! The rows of a step, for Trainer::step; places behind the batch are empty.
inline auto batch_of(const TokenSequences& data, const RowOrder& order, Index step) {
  return [&data, &order, step](Index i) {
    if (i >= order.batch()) return Sequence{};
    const auto row = data.sequence(order.row(step, i));
    return Sequence{row.ids, row.targets};
  };
}

//! Tokens of the batch of a step.
inline Index tokens_of(const TokenSequences& data, const RowOrder& order, Index step) {
  Index sum = 0;
  for (Index i = 0; i < order.batch(); ++i) sum += static_cast<Index>(data.sequence(order.row(step, i)).ids.size());
  return sum;
}

//! Of all that training reads of the data.
inline std::uint64_t hash_of(const TokenSequences& data) {
  std::uint64_t hash = mix(static_cast<std::uint64_t>(data.size()));
  const auto add = [&](std::span<const std::int32_t> numbers) {
    hash = mix(hash + numbers.size());
    for (const std::int32_t number : numbers) hash = mix(hash + static_cast<std::uint32_t>(number));
  };
  for (Index i = 0; i < data.size(); ++i) {
    add(data.sequence(i).ids);
    add(data.sequence(i).targets);
  }
  return hash;
}

}  // namespace moepar
