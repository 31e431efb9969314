// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/plan/census.hpp>
#include <moepar/tensor/precision.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/shard.hpp>

namespace moepar {

//! Parameters of one entry that `rank` holds under `layout`: its experts, and of these and of dense ones its shard.
constexpr Index held_by(const Census::Entry& entry, const Layout& layout, Index rank) {
  const Index copies = entry.kind == Kind::expert ? entry.copies / layout.expert : entry.copies;
  if (!entry.sharded) return entry.count * copies * entry.elements;
  const Group group = layout.shard_group(entry.kind, rank);
  return entry.count * shard_elements(copies, entry.elements, group.size, group.rank);
}

//! Parameters that `rank` holds. Shards are whole blocks, so ranks differ; rank 0 holds the most of every parameter.
constexpr ParameterCount parameters_of_rank(const Census& census, const Layout& layout, Index rank = 0) {
  ParameterCount sum;
  for (const auto& entry : census)
    if (!entry.tied) (entry.kind == Kind::expert ? sum.expert : sum.dense) += held_by(entry, layout, rank);
  return sum;
}

//! Bytes that a rank keeps between two steps.
struct StateBytes {
  Index parameters = 0;
  Index gradients = 0;
  Index optimizer = 0;
  [[nodiscard]] constexpr Index total() const { return parameters + gradients + optimizer; }
  friend constexpr bool operator==(const StateBytes&, const StateBytes&) = default;
};

constexpr StateBytes state_of_rank(const Census& census, const Layout& layout, Precision precision, Index rank = 0) {
  const Index held = parameters_of_rank(census, layout, rank).total();
  Index placed = held;  // with the further uses of tied parameters, which have no optimizer state
  for (const auto& entry : census)
    if (entry.tied) placed += held_by(entry, layout, rank);
  const BytesPerParameter each = bytes_per_parameter(precision);
  return {.parameters = placed * each.weight, .gradients = placed * each.gradient, .optimizer = held * each.optimizer};
}

}  // namespace moepar
