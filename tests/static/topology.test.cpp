// SPDX-License-Identifier: Apache-2.0
#include <moepar/model.hpp>

namespace mp = moepar;
using mp::Group;
using mp::Index;
using mp::Kind;

namespace {

// Rules may be asked.
static_assert(mp::degree_divides_expert_count<2, 8>);
static_assert(!mp::degree_divides_expert_count<3, 8>);
static_assert(!mp::degree_divides_expert_count<0, 8>);
static_assert(mp::expert_times_shard_degree_divides_world_size<2, 4, 8>);
static_assert(!mp::expert_times_shard_degree_divides_world_size<4, 4, 8>);

// The partition law: every member of a group sees the same group, and groups cover the world once.
constexpr bool partitions(Index world, auto group_of) {
  Index covered = 0;
  for (Index rank = 0; rank < world; ++rank) {
    const Group group = group_of(rank);
    if (group.member(group.rank, rank) != rank || group.rank < 0 || group.rank >= group.size) return false;
    if (group.rank == 0) covered += group.size;
    for (Index position = 0; position < group.size; ++position) {
      const Index other = group.member(position, rank);
      if (other < 0 || other >= world) return false;
      const Group seen = group_of(other);
      if (seen.size != group.size || seen.stride != group.stride || seen.rank != position) return false;
    }
  }
  return covered == world;
}

constexpr bool all_partition(const mp::Layout& layout) {
  bool good = layout.legal() && partitions(layout.world, [&](Index r) { return layout.expert_group(r); }) &&
              partitions(layout.world, [&](Index r) { return layout.tensor_group(r); });
  for (const Kind kind : {Kind::dense, Kind::expert})
    good = good && partitions(layout.world, [&](Index r) { return layout.shard_group(kind, r); }) &&
           partitions(layout.world, [&](Index r) { return layout.replica_group(kind, r); }) &&
           partitions(layout.world, [&](Index r) { return layout.gradient_group(kind, r); });
  return good;
}

static_assert(all_partition({.world = 1}));
static_assert(all_partition({.world = 7, .expert = 7}));
static_assert(all_partition({.world = 12, .expert = 3, .dense_shard = 6, .expert_shard = 2}));
static_assert(all_partition({.world = 24, .tensor = 2, .expert = 3, .dense_shard = 12, .expert_shard = 2}));
static_assert(all_partition(
    {.world = 16, .expert = 4, .dense_shard = 8, .expert_shard = 2, .expert_axis = mp::ExpertAxis::outermost}));

// A model on a world knows its groups.
struct Model : mp::Mixtral8x7B<8, 8> {};
using Job = mp::Deployment<Model, mp::World<64>>;
static_assert(Job::layout.expert_group(13) == Group{.size = 8, .rank = 5, .stride = 1});
static_assert(Job::layout.shard_group(Kind::expert, 13) == Group{.size = 8, .rank = 1, .stride = 8});
static_assert(Job::layout.shard_group(Kind::dense, 13) == Group{.size = 8, .rank = 5, .stride = 1});
static_assert(Job::layout.replica_group(Kind::dense, 13) == Group{.size = 8, .rank = 1, .stride = 8});
static_assert(Job::layout.gradient_group(Kind::expert, 13) == Group{.size = 8, .rank = 1, .stride = 8});
static_assert(Job::layout.gradient_group(Kind::dense, 13) == Group{.size = 64, .rank = 13, .stride = 1});

// The other axis order: shards of experts are neighbours, expert groups reach across.
using Across = mp::Deployment<Model, mp::World<64, mp::ExpertAxis::outermost>>;
static_assert(Across::layout.expert_group(13) == Group{.size = 8, .rank = 1, .stride = 8});
static_assert(Across::layout.shard_group(Kind::expert, 13) == Group{.size = 8, .rank = 5, .stride = 1});

// Degree 0 shards over the whole world: 64 ranks for dense parameters, 64 / 8 for experts.
using Full = mp::Deployment<mp::Mixtral8x7B<8, 0>, mp::World<64>>;
static_assert(Full::layout.dense_shard == 64 && Full::layout.expert_shard == 8);

}  // namespace
