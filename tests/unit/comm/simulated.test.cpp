// SPDX-License-Identifier: Apache-2.0
// The laws on simulated ranks, then many random worlds. MOEPAR_SEED=N in the environment plays one of them again.
#include <algorithm>
#include <array>
#include <chrono>
#include <cstdint>
#include <cstdlib>
#include <exception>
#include <moepar/comm/communicator.hpp>
#include <moepar/comm/simulated/simulated_world.hpp>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "laws.hpp"
#include "random_program.hpp"

namespace mp = moepar;

static_assert(mp::communicator<mp::SimulatedCommunicator> && mp::has_broadcast<mp::SimulatedCommunicator> &&
              mp::has_all_gather<mp::SimulatedCommunicator> && mp::has_reduce_scatter<mp::SimulatedCommunicator> &&
              mp::has_integer_reduction<mp::SimulatedCommunicator> && mp::has_all_to_all<mp::SimulatedCommunicator> &&
              mp::has_all_to_all_v<mp::SimulatedCommunicator> && mp::has_send_receive<mp::SimulatedCommunicator>);

namespace laws {
namespace {

struct Simulated {
  using Communicator = mp::SimulatedCommunicator;
  template <class Body> static void run(Index size, std::chrono::milliseconds deadline, Body body) {
    static std::uint64_t seed = 0;
    mp::SimulatedWorld{size, ++seed, {.deadline = deadline}}.run(body);
  }
  static void pause(mp::SimulatedWorld::Rank& rank) { rank.sleep(1ms); }
};

// Seeds first, first + 1, ..., or the one that is to be replayed.
template <class Test> void for_seeds(std::uint64_t first, std::uint64_t count, Test test) {
  if (const char* replayed = std::getenv("MOEPAR_SEED"); replayed != nullptr) {
    first = std::strtoull(replayed, nullptr, 10);
    count = 1;
  }
  int failures = 0;
  for (std::uint64_t seed = first; seed < first + count && failures < 5; ++seed) {
    try {
      test(seed);
    } catch (const std::exception& error) {
      ++failures;
      FAIL_CHECK(error.what() << "; replay with MOEPAR_SEED=" << seed);
    }
  }
  CHECK(failures == 0);
}

}  // namespace

TEST_CASE_TEMPLATE_INVOKE(moves, Simulated);
TEST_CASE_TEMPLATE_INVOKE(axes, Simulated);
TEST_CASE_TEMPLATE_INVOKE(strides, Simulated);
TEST_CASE_TEMPLATE_INVOKE(reduces, Simulated);
TEST_CASE_TEMPLATE_INVOKE(throws, Simulated);
TEST_CASE_TEMPLATE_INVOKE(returns, Simulated);
TEST_CASE_TEMPLATE_INVOKE(stalls, Simulated);
TEST_CASE_TEMPLATE_INVOKE(mismatches, Simulated);
TEST_CASE_TEMPLATE_INVOKE(chains, Simulated);
TEST_CASE_TEMPLATE_INVOKE(order, Simulated);
TEST_CASE_TEMPLATE_INVOKE(arguments, Simulated);

TEST_CASE("random collectives on random groups in 10,000 random schedules") {
  for_seeds(0, 10000, [](std::uint64_t seed) {
    const RandomProgram program{seed};
    mp::SimulatedWorld{program.world, seed}.run([&](mp::SimulatedWorld::Rank& rank) { Player{program, rank}.play(); });
  });
}

TEST_CASE("a fault at a random call ends every other rank and is blamed on the rank at fault, for 2,000 seeds") {
  std::array<int, 3> seen{};
  for_seeds(100000, 2000, [&](std::uint64_t seed) {
    const RandomProgram program{seed};
    if (program.world == 1) return;
    auto fault = mp::random_fault(seed, program.world, 1);
    fault.call = 1 + static_cast<Index>(mp::mix(seed) % static_cast<std::uint64_t>(program.calls(fault.rank)));
    ++seen[static_cast<std::size_t>(fault.kind)];
    mp::SimulatedWorld world{program.world, seed, {.faults = {fault}}};
    std::vector<std::string> complaints(static_cast<std::size_t>(program.world), "did not throw");
    std::string end = "(seed " + std::to_string(seed) + ")";
    try {
      world.run([&](mp::SimulatedWorld::Rank& rank) {
        auto& complaint = complaints[static_cast<std::size_t>(rank.rank())];
        try {
          Player{program, rank}.play();
        } catch (const mp::CollectiveError& error) {
          const auto reason = fault.kind == mp::SimulatedFault::Kind::kill ? mp::CollectiveError::Reason::rank_left
                                                                           : mp::CollectiveError::Reason::deadline;
          complaint = error.what();
          if (error.suspects() == std::vector<Index>{fault.rank} && error.reason() == reason &&
              complaint.ends_with(end))
            complaint.clear();
          throw;
        }
      });
      throw mp::Error{"the fault changed nothing"};
    } catch (const mp::Error& error) {
      expect(std::string{error.what()}.ends_with(end), error.what());
    }
    if (fault.kind == mp::SimulatedFault::Kind::kill) complaints[static_cast<std::size_t>(fault.rank)].clear();
    for (const auto& complaint : complaints) expect(complaint.empty(), complaint.c_str());
    // Nobody waits for longer than it takes the ranks to notice one after the other.
    expect(world.now() < (fault.kind == mp::SimulatedFault::Kind::kill ? 1 : 3) * 30s, "a rank hung");
  });
  if (std::getenv("MOEPAR_SEED") == nullptr) CHECK(*std::min_element(seen.begin(), seen.end()) > 300);
}

TEST_CASE("one seed is one schedule, bit for bit; another seed is another") {
  std::vector<std::uint64_t> traces;
  for (std::uint64_t seed = 0; seed < 200; ++seed) {
    std::uint64_t before = 0;
    std::vector<Index> order_before;
    for (int time = 0; time < 2; ++time) {
      mp::SimulatedWorld world{6, seed};
      std::vector<Index> order;
      world.run([&](mp::SimulatedWorld::Rank& rank) {
        auto all = rank.communicator();
        for (int round = 0; round < 5; ++round) {
          all.barrier();
          order.push_back(rank.rank());
        }
      });
      if (time == 1) {
        CHECK(world.trace() == before);
        CHECK(order == order_before);
      }
      before = world.trace();
      order_before = order;
    }
    traces.push_back(before);
  }
  std::sort(traces.begin(), traces.end());
  CHECK(std::adjacent_find(traces.begin(), traces.end()) == traces.end());
}

TEST_CASE("a world of 64 ranks and its groups, near and far") {
  CHECK_NOTHROW(Simulated::run(64, 20s, [](mp::SimulatedWorld::Rank& rank) {
    auto all = rank.communicator();
    auto near = rank.communicator("near", {.size = 8, .rank = rank.rank() % 8, .stride = 1});
    auto far = rank.communicator("far", {.size = 8, .rank = rank.rank() / 8, .stride = 8});
    std::vector<Index> everybody(64);
    const std::vector<Index> me{rank.rank()};
    all.all_gather(std::span<const Index>{me}, std::span<Index>{everybody});
    expect(everybody == numbers(64), "all_gather of 64");
    std::vector<std::int64_t> sum{rank.rank()}, far_sum{rank.rank()};
    near.sum(std::span<std::int64_t>{sum});
    far.sum(std::span<std::int64_t>{far_sum});
    expect(sum[0] == 64 * (rank.rank() / 8) + 28, "near");
    expect(far_sum[0] == 8 * (rank.rank() % 8) + 224, "far");
    std::vector<Index> in(64);
    all.all_to_all(std::span<const Index>{everybody}, std::span<Index>{in});
    expect(in == std::vector<Index>(64, rank.rank()), "all_to_all of 64");
  }));
}

TEST_CASE("a rank may communicate while it handles an exception") {
  CHECK_NOTHROW(Simulated::run(4, 20s, [](mp::SimulatedWorld::Rank& rank) {
    auto all = rank.communicator();
    for (int round = 0; round < 20; ++round) {
      try {
        try {
          throw static_cast<int>(rank.rank());
        } catch (int) {
          all.barrier();
          try {
            throw std::runtime_error{"another"};
          } catch (const std::exception&) {
            all.barrier();
          }
          throw;
        }
      } catch (int thrown) {
        expect(thrown == rank.rank() && std::uncaught_exceptions() == 0, "the rank's own exception");
      }
    }
  }));
}

TEST_CASE("what a rank throws arrives, with the seed if it is an Error; a world that did not throw can run again") {
  mp::SimulatedWorld world{3, 77};
  for (int time = 0; time < 2; ++time) CHECK_NOTHROW(world.run([](auto& rank) { rank.communicator().barrier(); }));
  const auto fail = [&](auto error) {
    return [error](mp::SimulatedWorld::Rank& rank) {
      if (rank.rank() == 1) throw error;
      rank.communicator().barrier();
    };
  };
  CHECK_THROWS_WITH_AS((mp::SimulatedWorld{3, 77}.run(fail(mp::Error{"no. Fix: yes."}))), "no. Fix: yes. (seed 77)",
                       mp::Error);
  CHECK_THROWS_WITH_AS((mp::SimulatedWorld{3, 77}.run(fail(std::out_of_range{"far"}))), "far", std::out_of_range);
  CHECK(world.seed() == 77);
}

TEST_CASE("virtual time takes no time, and a stack is as large as asked") {
  mp::SimulatedWorld world{2, 5, {.deadline = 1h, .stack_bytes = std::size_t{4} << 20}};
  const auto start = std::chrono::steady_clock::now();
  CHECK_THROWS_AS(world.run([](mp::SimulatedWorld::Rank& rank) {
    volatile char large[3 << 20];
    for (std::size_t i = 0; i < sizeof(large); i += 4096) large[i] = 1;
    if (rank.rank() == 0) rank.sleep(2h);
    rank.communicator().barrier();
  }),
                  mp::CollectiveError);
  CHECK(world.now() >= 2h);
  CHECK(std::chrono::steady_clock::now() - start < 10s);
}

TEST_CASE("fibers that nothing will wake are reported with the seed") {
  mp::detail::Scheduler scheduler{123};
  try {
    scheduler.run(2, std::size_t{64} << 10, [&](Index) { scheduler.block(mp::detail::Scheduler::never); });
    FAIL("returned");
  } catch (const mp::Error& error) {
    CHECK(std::string{error.what()}.ends_with("(seed 123)"));
  }
}

}  // namespace laws
