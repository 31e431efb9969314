// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/comm/ledger.hpp>
#include <moepar/core/index.hpp>
#include <moepar/nn/bind.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/topology/group.hpp>
#include <moepar/topology/layout.hpp>
#include <vector>

namespace moepar {

//! Stands for the communicator of a rank that only counts.
struct NoCommunicator {};

//! The ranks that add up one gradient after the shard groups have: all that hold the same shard.
constexpr Group replicas_of(const Layout& layout, Placement placement, Index rank) {
  const Kind kind = kind_of(placement);
  return is_sharded(placement) ? layout.replica_group(kind, rank) : layout.gradient_group(kind, rank);
}
constexpr Group shards_of(const Layout& layout, Placement placement, Index rank) {
  return is_sharded(placement) ? layout.shard_group(kind_of(placement), rank)
                               : Group{.size = 1, .rank = 0, .stride = 1};
}
constexpr Axis shard_axis(Placement placement) { return is_expert(placement) ? Axis::expert_shard : Axis::shard; }
constexpr Axis replica_axis(Placement placement) { return is_expert(placement) ? Axis::expert_replica : Axis::replica; }

//! The communicators of one rank, one for each group of its layout.
template <class Communicator> struct Axes {
  Communicator world, expert;
  std::vector<Communicator> shard, replica;  //!< by placement

  [[nodiscard]] Communicator& shard_of(Placement placement) { return shard[static_cast<std::size_t>(placement)]; }
  [[nodiscard]] Communicator& replica_of(Placement placement) { return replica[static_cast<std::size_t>(placement)]; }
};

//! connection: what a transport gives to each rank; its communicator(axis, group) makes one.
template <class Connection> auto make_axes(Connection& connection, const Layout& layout) {
  const Index rank = connection.rank();
  using Communicator = decltype(connection.communicator("", Group{}));
  Axes<Communicator> axes{.world = connection.communicator("world", {.size = layout.world, .rank = rank, .stride = 1}),
                          .expert = connection.communicator("expert", layout.expert_group(rank)),
                          .shard = {},
                          .replica = {}};
  constexpr const char* replicas[] = {"replica", "replica of shard", "expert replica", "expert replica of shard"};
  for (Index i = 0; i < placements; ++i) {
    const auto placement = static_cast<Placement>(i);
    axes.shard.push_back(connection.communicator(name_of(shard_axis(placement)), shards_of(layout, placement, rank)));
    axes.replica.push_back(connection.communicator(replicas[i], replicas_of(layout, placement, rank)));
  }
  return axes;
}

}  // namespace moepar
