// SPDX-License-Identifier: Apache-2.0
// Calls that have been made before allocate nothing. An executable of its own: it replaces operator new.
#include <doctest/doctest.h>

#include <atomic>
#include <cstddef>
#include <cstdint>
#include <moepar/comm/threads/thread_world.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <span>
#include <vector>

#include "../counting_new.hpp"

namespace mp = moepar;
using mp::Index;

TEST_CASE("collectives that have been made before allocate nothing") {
  constexpr Index world = 3, elements = 3000;
  const mp::GranuleTree tree{world};
  std::atomic<Index> during{-1};
  mp::ThreadWorld{world}.run([&](mp::ThreadWorld::Rank& rank) {
    auto all = rank.communicator();
    const Index me = rank.rank();
    std::vector<float> own(elements), everything(world * elements), sums(elements);
    std::vector<std::int64_t> numbers(5);
    const std::vector<Index> counts(world, elements / world);
    const mp::GranuleRange granule{me, me + 1};
    mp::GranuleRange left[1];
    const auto once = [&] {
      all.barrier();
      all.broadcast(1, std::span<float>{own});
      all.all_gather(std::span<const float>{own}, std::span<float>{everything});
      all.all_gather(std::span<const float>{own}.first(elements / world), std::span<float>{own},
                     std::span<const Index>{counts});
      const mp::GatherPiece<float> gathers[] = {{own.data(), everything.data(), counts.data()},
                                                {own.data(), everything.data() + elements, counts.data()}};
      all.all_gather(std::span<const mp::GatherPiece<float>>{gathers});
      const mp::ReducePiece<float> reduces[] = {
          {.own = own.data(), .stride = elements, .counts = counts.data(), .sums = sums.data()},
          {.own = everything.data(), .stride = elements, .counts = counts.data(), .sums = sums.data() + 2000}};
      all.reduce_scatter(tree, {&granule, 1}, std::span<const mp::ReducePiece<float>>{reduces},
                         std::span<mp::GranuleRange>{left});
      all.sum(std::span<std::int64_t>{numbers});
      all.maximum(std::span<float>{own});
      all.all_to_all(std::span<const float>{own}, std::span<float>{sums});
      all.all_to_all_v(std::span<const float>{own}, std::span<const Index>{counts}, std::span<float>{sums},
                       std::span<const Index>{counts});
      if (me < 2) me == 0 ? all.send(1, std::span<const float>{own}) : all.receive(0, std::span<float>{own});
    };
    once();
    all.barrier();  // nobody allocates any more
    const Index before = allocations;
    all.barrier();
    for (int round = 0; round < 20; ++round) once();
    all.barrier();
    if (me == 0) during = allocations - before;
    all.barrier();
  });
  CHECK(during == 0);
}
