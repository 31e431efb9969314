// SPDX-License-Identifier: Apache-2.0
#include <chrono>
#include <cstdint>
#include <moepar/comm/communicator.hpp>
#include <moepar/comm/threads/thread_world.hpp>
#include <thread>

#include "laws.hpp"
#include "random_program.hpp"

namespace mp = moepar;

static_assert(mp::communicator<mp::ThreadCommunicator> && mp::has_broadcast<mp::ThreadCommunicator> &&
              mp::has_all_gather<mp::ThreadCommunicator> && mp::has_reduce_scatter<mp::ThreadCommunicator> &&
              mp::has_integer_reduction<mp::ThreadCommunicator> && mp::has_all_to_all<mp::ThreadCommunicator> &&
              mp::has_all_to_all_v<mp::ThreadCommunicator> && mp::has_send_receive<mp::ThreadCommunicator>);

namespace laws {
namespace {

struct Threads {
  using Communicator = mp::ThreadCommunicator;
  template <class Body> static void run(Index size, std::chrono::milliseconds deadline, Body body) {
    mp::ThreadWorld{size, deadline}.run(body);
  }
  static void pause(mp::ThreadWorld::Rank&) { std::this_thread::sleep_for(1ms); }
};

}  // namespace

TEST_CASE_TEMPLATE_INVOKE(moves, Threads);
TEST_CASE_TEMPLATE_INVOKE(axes, Threads);
TEST_CASE_TEMPLATE_INVOKE(strides, Threads);
TEST_CASE_TEMPLATE_INVOKE(reduces, Threads);
TEST_CASE_TEMPLATE_INVOKE(throws, Threads);
TEST_CASE_TEMPLATE_INVOKE(returns, Threads);
TEST_CASE_TEMPLATE_INVOKE(stalls, Threads);
TEST_CASE_TEMPLATE_INVOKE(mismatches, Threads);
TEST_CASE_TEMPLATE_INVOKE(chains, Threads);
TEST_CASE_TEMPLATE_INVOKE(order, Threads);
TEST_CASE_TEMPLATE_INVOKE(arguments, Threads);

TEST_CASE("random collectives on random groups of threads") {
  for (std::uint64_t seed = 0; seed < 300; ++seed) {
    CAPTURE(seed);
    const RandomProgram program{seed};
    CHECK_NOTHROW(
        mp::ThreadWorld{program.world}.run([&](mp::ThreadWorld::Rank& rank) { Player{program, rank}.play(); }));
  }
}

TEST_CASE("a world that did not throw can run again") {
  mp::ThreadWorld world{3};
  for (int time = 0; time < 3; ++time) CHECK_NOTHROW(world.run([](auto& rank) { rank.communicator().barrier(); }));
}

}  // namespace laws

TEST_CASE("64 ranks on whatever cores there are") {
  constexpr mp::Index size = 64;
  std::atomic<int> right{0};
  mp::ThreadWorld{size}.run([&](mp::ThreadWorld::Rank& rank) {
    auto all = rank.communicator();
    auto neighbours = rank.communicator("group", {.size = 8, .rank = rank.rank() % 8, .stride = 1});
    const std::int64_t mine = rank.rank();
    std::vector<std::int64_t> everybody(size);
    all.all_gather(std::span<const std::int64_t>{&mine, 1}, std::span<std::int64_t>{everybody});
    std::int64_t sum = mine;
    neighbours.sum(std::span<std::int64_t>{&sum, 1});
    const mp::Index first = rank.rank() / 8 * 8;
    if (everybody.front() == 0 && everybody.back() == 63 && sum == 8 * first + 28) ++right;
  });
  CHECK(right == 64);
}
