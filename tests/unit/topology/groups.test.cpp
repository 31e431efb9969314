// SPDX-License-Identifier: Apache-2.0
// Every group of every legal layout of 1 to 16 ranks, against groups built from the definitions in words.
#include <doctest/doctest.h>

#include <array>
#include <map>
#include <moepar/topology/layout.hpp>
#include <vector>

namespace mp = moepar;
using mp::Index;

namespace {

using Ranks = std::vector<Index>;

// Where a rank stands on the axes of one view. An axis that a view lacks has size 1.
struct Place {
  Index tensor = 0, expert = 0, shard = 0, replica = 0;
  friend bool operator==(const Place&, const Place&) = default;
};

// Numbers the ranks by counting through the axes, innermost first, as the design states them.
std::vector<Place> places(const mp::Layout& layout, mp::Kind kind) {
  const Index experts = kind == mp::Kind::expert ? layout.expert : 1;
  const Index shards = kind == mp::Kind::expert ? layout.expert_shard : layout.dense_shard;
  const Index replicas = layout.world / (layout.tensor * experts * shards);
  std::vector<Place> all;
  if (layout.expert_axis == mp::ExpertAxis::innermost) {
    for (Index r = 0; r < replicas; ++r)
      for (Index s = 0; s < shards; ++s)
        for (Index e = 0; e < experts; ++e)
          for (Index t = 0; t < layout.tensor; ++t) all.push_back({t, e, s, r});
  } else {
    for (Index e = 0; e < experts; ++e)
      for (Index r = 0; r < replicas; ++r)
        for (Index s = 0; s < shards; ++s)
          for (Index t = 0; t < layout.tensor; ++t) all.push_back({t, e, s, r});
  }
  return all;
}

// The ranks whose place agrees with that of `rank` once `free` has wiped out the axes of the group.
template <class Wipe> Ranks agreeing(const std::vector<Place>& places, Index rank, Wipe wipe) {
  Ranks ranks;
  for (Index other = 0; other < static_cast<Index>(places.size()); ++other)
    if (wipe(places[static_cast<std::size_t>(other)]) == wipe(places[static_cast<std::size_t>(rank)]))
      ranks.push_back(other);
  return ranks;
}

Ranks members(const mp::Group& group, Index own) {
  Ranks ranks;
  for (Index position = 0; position < group.size; ++position) ranks.push_back(group.member(position, own));
  return ranks;
}

struct Checker {
  Index compared = 0;

  void same(const mp::Group& group, Index rank, const Ranks& expected, const char* what) {
    ++compared;
    if (members(group, rank) == expected && group.member(group.rank, rank) == rank) return;
    FAIL_CHECK(what << " of rank " << rank << ": size " << group.size << ", rank " << group.rank << ", stride "
                    << group.stride);
  }

  void layout(const mp::Layout& layout) {
    for (const mp::Kind kind : {mp::Kind::dense, mp::Kind::expert}) {
      const auto all = places(layout, kind);
      REQUIRE(static_cast<Index>(all.size()) == layout.world);
      for (Index rank = 0; rank < layout.world; ++rank) {
        same(layout.tensor_group(rank), rank, agreeing(all, rank, [](Place p) { return p.tensor = 0, p; }),
             "tensor group");
        if (kind == mp::Kind::expert)
          same(layout.expert_group(rank), rank, agreeing(all, rank, [](Place p) { return p.expert = 0, p; }),
               "expert group");
        same(layout.shard_group(kind, rank), rank, agreeing(all, rank, [](Place p) { return p.shard = 0, p; }),
             "shard group");
        same(layout.replica_group(kind, rank), rank, agreeing(all, rank, [](Place p) { return p.replica = 0, p; }),
             "replica group");
        same(layout.gradient_group(kind, rank), rank,
             agreeing(all, rank, [](Place p) { return p.shard = p.replica = 0, p; }), "gradient group");
      }
    }
  }
};

}  // namespace

TEST_CASE("every group of every legal layout of 1 to 16 ranks") {
  Checker checker;
  Index layouts = 0;
  for (Index world = 1; world <= 16; ++world)
    for (Index tensor = 1; tensor <= world; ++tensor)
      for (Index expert = 1; expert <= world; ++expert)
        for (Index dense_shard = 1; dense_shard <= world; ++dense_shard)
          for (Index expert_shard = 1; expert_shard <= world; ++expert_shard)
            for (const auto axis : {mp::ExpertAxis::innermost, mp::ExpertAxis::outermost}) {
              const mp::Layout layout{world, tensor, expert, dense_shard, expert_shard, axis};
              const bool legal = world % (tensor * dense_shard) == 0 && world % (tensor * expert * expert_shard) == 0;
              CHECK(layout.legal() == legal);
              if (!legal) continue;
              ++layouts;
              checker.layout(layout);
            }
  CHECK(layouts == 1338);
  CHECK(checker.compared > 100'000);
}

TEST_CASE("layouts of other systems on 16 ranks") {
  using Groups = std::vector<Ranks>;
  const auto groups = [](auto group_of) {
    std::map<Index, Ranks> by_first;
    for (Index rank = 0; rank < 16; ++rank) {
      const Ranks ranks = members(group_of(rank), rank);
      by_first[ranks.front()] = ranks;
    }
    Groups all;
    for (auto& [first, ranks] : by_first) all.push_back(ranks);
    return all;
  };
  const Groups fours{{0, 1, 2, 3}, {4, 5, 6, 7}, {8, 9, 10, 11}, {12, 13, 14, 15}};

  SUBCASE("Megatron: expert degree 4, nothing sharded") {
    const mp::Layout layout{.world = 16, .expert = 4};
    CHECK(groups([&](Index r) { return layout.expert_group(r); }) == fours);
    CHECK(groups([&](Index r) { return layout.gradient_group(mp::Kind::expert, r); }) ==
          Groups{{0, 4, 8, 12}, {1, 5, 9, 13}, {2, 6, 10, 14}, {3, 7, 11, 15}});
    CHECK(groups([&](Index r) { return layout.gradient_group(mp::Kind::dense, r); }) ==
          Groups{{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15}});
  }
  SUBCASE("torchtitan: two replicas of shards of 8, expert degree 4") {
    const mp::Layout layout{.world = 16, .expert = 4, .dense_shard = 8, .expert_shard = 2};
    CHECK(groups([&](Index r) { return layout.shard_group(mp::Kind::dense, r); }) ==
          Groups{{0, 1, 2, 3, 4, 5, 6, 7}, {8, 9, 10, 11, 12, 13, 14, 15}});
    CHECK(groups([&](Index r) { return layout.replica_group(mp::Kind::dense, r); }) ==
          Groups{{0, 8}, {1, 9}, {2, 10}, {3, 11}, {4, 12}, {5, 13}, {6, 14}, {7, 15}});
    CHECK(groups([&](Index r) { return layout.expert_group(r); }) == fours);
    CHECK(groups([&](Index r) { return layout.shard_group(mp::Kind::expert, r); }) ==
          Groups{{0, 4}, {1, 5}, {2, 6}, {3, 7}, {8, 12}, {9, 13}, {10, 14}, {11, 15}});
    CHECK(groups([&](Index r) { return layout.replica_group(mp::Kind::expert, r); }) ==
          Groups{{0, 8}, {1, 9}, {2, 10}, {3, 11}, {4, 12}, {5, 13}, {6, 14}, {7, 15}});
  }
  SUBCASE("Megatron: tensor degree 2 for dense and expert parameters, expert degree 4") {
    const mp::Layout layout{.world = 16, .tensor = 2, .expert = 4};
    CHECK(groups([&](Index r) { return layout.expert_group(r); }) ==
          Groups{{0, 2, 4, 6}, {1, 3, 5, 7}, {8, 10, 12, 14}, {9, 11, 13, 15}});
    CHECK(groups([&](Index r) { return layout.gradient_group(mp::Kind::expert, r); }) ==
          Groups{{0, 8}, {1, 9}, {2, 10}, {3, 11}, {4, 12}, {5, 13}, {6, 14}, {7, 15}});
    CHECK(groups([&](Index r) { return layout.gradient_group(mp::Kind::dense, r); }) ==
          Groups{{0, 2, 4, 6, 8, 10, 12, 14}, {1, 3, 5, 7, 9, 11, 13, 15}});
  }
}
