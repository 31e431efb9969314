// SPDX-License-Identifier: Apache-2.0
// Degrees as a user writes them, and what is said when they do not fit.
#include <doctest/doctest.h>

#include <moepar/moe.hpp>
#include <string>

namespace mp = moepar;
using mp::Index;

namespace {

std::string refusal(const mp::Degrees& degrees, Index world, Index experts) {
  try {
    (void)mp::checked_layout(degrees, world, experts);
  } catch (const mp::Error& error) {
    return error.what();
  }
  return "";
}

}  // namespace

TEST_CASE("hybrid shard degree: 0 the whole world, 1 none, 2..W that many ranks") {
  struct Row {
    Index world, expert, shard, dense_ranks, expert_ranks;
  };
  for (const Row& row : {Row{16, 1, 0, 16, 16}, Row{16, 4, 0, 16, 4}, Row{16, 16, 0, 16, 1}, Row{16, 1, 1, 1, 1},
                         Row{16, 4, 1, 1, 1}, Row{16, 2, 8, 8, 8}, Row{16, 1, 16, 16, 16}, Row{6, 2, 3, 3, 3},
                         Row{7, 1, 7, 7, 7}, Row{7, 7, 1, 1, 1}, Row{1, 1, 0, 1, 1}, Row{64, 2, 32, 32, 32}}) {
    CAPTURE(row.world);
    CAPTURE(row.expert);
    CAPTURE(row.shard);
    const auto layout = mp::checked_layout({.expert = row.expert, .shard = row.shard}, row.world, row.expert * 2);
    CHECK(layout.dense_shard == row.dense_ranks);
    CHECK(layout.expert_shard == row.expert_ranks);
    CHECK(layout.legal());
  }
  SUBCASE("a degree of its own for experts") {
    const auto layout = mp::checked_layout({.expert = 4, .shard = 8, .expert_shard = 0}, 16, 8);
    CHECK(layout.dense_shard == 8);
    CHECK(layout.expert_shard == 4);
    CHECK(mp::checked_layout({.expert = 4, .shard = 0, .expert_shard = 1}, 16, 8).expert_shard == 1);
  }
}

TEST_CASE("refusals at start carry the sentence of the compiler and the numbers") {
  CHECK(refusal({.expert = 3}, 8, 8) ==
        "moepar::ExpertParallel: Degree must divide the number of experts (Degree = 3, ExpertCount = 8). "
        "Fix: choose a Degree that divides it, or change the number of experts.");
  CHECK(
      refusal({.expert = 4}, 6, 8)
          .starts_with("moepar::ExpertParallel: Degree must divide the world size (Degree = 4, WorldSize = 6). Fix: "));
  CHECK(refusal({.shard = 3}, 8, 8)
            .starts_with(
                "moepar::HybridShard: ShardDegree must divide the world size (ShardDegree = 3, WorldSize = 8). Fix: "));
  CHECK(refusal({.expert = 4, .shard = 4}, 8, 8)
            .starts_with("moepar::Deployment: expert degree times the shard degree of experts must divide the world "
                         "size (Degree = 4, ExpertShardDegree = 4, WorldSize = 8). Fix: "));
  CHECK(refusal({.expert = 2, .shard = 16}, 16, 8).find("HybridShard<Model, 0>") != std::string::npos);
  CHECK(refusal({}, 0, 8).starts_with("moepar::World: a world has 1 to 2^24 ranks (WorldSize = 0). Fix: "));
  CHECK(refusal({.shard = -2}, 8, 8).find("(ShardDegree = -2)") != std::string::npos);
  CHECK(refusal({.shard = 2, .expert_shard = -7}, 8, 8).find("(ShardDegree = -7)") != std::string::npos);
  CHECK(refusal({.expert = 2}, 8, 0).find("(Degree = 2, ExpertCount = 0)") != std::string::npos);
  SUBCASE("numbers from outside do not overflow") {
    constexpr Index big = Index{1} << 40;
    CHECK(refusal({.expert = big, .shard = big}, big, big).find("WorldSize = 1099511627776") != std::string::npos);
    CHECK(refusal({.expert = 8, .shard = 8, .expert_shard = big}, 8, 8).find("ExpertShardDegree") != std::string::npos);
    CHECK(refusal({.shard = big}, 8, 8).find("ShardDegree = 1099511627776") != std::string::npos);
  }
}

TEST_CASE("an error knows where it was found") {
  try {
    (void)mp::checked_layout({.expert = 3}, 8, 8);
    FAIL("not thrown");
  } catch (const mp::Error& error) {
    CHECK(error.report().starts_with("degrees.test.cpp:"));
    CHECK(error.report().ends_with(error.what()));
  }
}
