// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/plan/census.hpp>
#include <moepar/tensor/precision.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/step_shape.hpp>

namespace moepar {

//! Bytes that a rank sends in a step without gradient accumulation, by axis; the mean over ranks, as if shards were cut
//! evenly. A gather or reduction over n ranks moves (n-1)/n of
//! the buffer, an exchange between n ranks (n-1)/n of the rows when tokens are spread evenly.
struct TrafficBytes {
  Index gather = 0;     //!< shard axis: parameters, before forward and again before backward
  Index reduce = 0;     //!< shard axis: gradients into their owners
  Index replicate = 0;  //!< replica axis: shards of gradients added and copied back
  Index exchange = 0;   //!< expert axis: rows to experts and back, forward and backward, and again where recomputed
  [[nodiscard]] constexpr Index total() const { return gather + reduce + replicate + exchange; }
  friend constexpr bool operator==(const TrafficBytes&, const TrafficBytes&) = default;
};

namespace detail {
//! (parts - 1) / parts of `bytes`, rounded down; the division first, so that nothing overflows.
constexpr Index all_but_own(Index bytes, Index parts) { return bytes - ceil_div(bytes, parts); }
}  // namespace detail

constexpr TrafficBytes traffic_of_rank(const Census& census, const Layout& layout, const StepShape& shape) {
  const Index element = compute_bytes(shape.precision);
  TrafficBytes sum;
  for (const auto& entry : census) {
    const Index copies = entry.kind == Kind::expert ? entry.copies / layout.expert : entry.copies;
    const Index elements = entry.count * copies * entry.elements;
    const Index shards = entry.sharded ? layout.shard_degree(entry.kind) : 1;
    const Index replicas = layout.gradient_degree(entry.kind) / shards;
    sum.gather += 2 * detail::all_but_own(elements * element, shards);
    sum.reduce += detail::all_but_own(elements * gradient_bytes, shards);
    sum.replicate += 2 * detail::all_but_own(detail::ceil_div(elements, shards) * gradient_bytes, replicas);
  }
  sum.exchange = detail::all_but_own(
      (4 * census.routed_columns + 2 * census.recomputed_columns) * shape.tokens() * element, layout.expert);
  return sum;
}

}  // namespace moepar
