// SPDX-License-Identifier: Apache-2.0
// The laws of a communicator, at several world sizes, and what happens when a rank is at fault: one suite for every
// transport. `World` has a type Communicator, run(size, deadline, body) and pause(rank), a millisecond.
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <moepar/comm/collective_error.hpp>
#include <moepar/comm/part_sum.hpp>
#include <moepar/comm/pieces.hpp>
#include <moepar/comm/scratch.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/normal.hpp>
#include <moepar/core/part_stack.hpp>
#include <moepar/core/random.hpp>
#include <moepar/topology/layout.hpp>
#include <numeric>
#include <span>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace laws {

namespace mp = moepar;
using mp::Index;
using namespace std::chrono_literals;

constexpr Index world_sizes[] = {1, 2, 3, 4, 6, 8};

// doctest's assertions are not for many threads at once: ranks throw instead.
inline void expect(bool condition, const char* what) {
  if (!condition) throw mp::Error{what};
}

template <class T> std::span<const T> view(const std::vector<T>& values) { return values; }
template <class T> std::span<T> view(std::vector<T>& values) { return values; }

inline std::vector<Index> numbers(Index count, Index first = 0) {
  std::vector<Index> out(static_cast<std::size_t>(count));
  std::iota(out.begin(), out.end(), first);
  return out;
}

TEST_CASE_TEMPLATE_DEFINE("collectives move what they say, on every world size", World, moves) {
  for (const Index world : world_sizes) {
    CAPTURE(world);
    CHECK_NOTHROW(World::run(world, 20s, [&](auto& rank) {
      auto all = rank.communicator();
      expect(all.size() == world && all.rank() == rank.rank(), "size and rank");
      const Index me = rank.rank();
      for (int round = 0; round < 3; ++round) {
        all.barrier();
        for (Index root = 0; root < world; ++root) {
          auto data = numbers(5, 100 * me);
          all.broadcast(root, view(data));
          expect(data == numbers(5, 100 * root), "broadcast");
        }
        std::vector<Index> gathered(static_cast<std::size_t>(3 * world));
        all.all_gather(std::span<const Index>{numbers(3, 3 * me)}, view(gathered));
        expect(gathered == numbers(3 * world), "all_gather");

        // Contributions of different sizes, the first one empty.
        std::vector<Index> counts = numbers(world);
        std::vector<Index> uneven(static_cast<std::size_t>(world * (world - 1) / 2));
        all.all_gather(std::span<const Index>{numbers(me, me * (me - 1) / 2)}, view(uneven),
                       view(std::as_const(counts)));
        expect(uneven == numbers(world * (world - 1) / 2), "all_gather of uneven parts");

        std::vector<std::int64_t> values{me, 1, (std::int64_t{1} << 53) + me};
        all.sum(std::span<std::int64_t>{values});
        const std::int64_t triangle = world * (world - 1) / 2;
        expect(values == std::vector<std::int64_t>{triangle, world, (world << 53) + triangle}, "sum beyond 2^53");
        std::vector<float> largest{static_cast<float>(me), -static_cast<float>(me)};
        all.maximum(std::span<float>{largest});
        expect(largest == std::vector<float>{static_cast<float>(world - 1), 0.0f}, "maximum");

        std::vector<Index> in(static_cast<std::size_t>(2 * world));
        std::vector<Index> out;
        for (Index to = 0; to < world; ++to) out.insert(out.end(), {me * 100 + to, -to});
        all.all_to_all(view(std::as_const(out)), view(in));
        for (Index from = 0; from < world; ++from)
          expect(in[static_cast<std::size_t>(2 * from)] == from * 100 + me, "all_to_all");

        // Rank a sends (a + b) % 3 elements to rank b: some pairs exchange nothing.
        std::vector<Index> out_counts, in_counts, sent, expected;
        for (Index peer = 0; peer < world; ++peer) {
          out_counts.push_back((me + peer) % 3);
          in_counts.push_back((peer + me) % 3);
          for (Index i = 0; i < (me + peer) % 3; ++i) {
            sent.push_back(10000 * me + 100 * peer + i);
            expected.push_back(10000 * peer + 100 * me + i);
          }
        }
        std::vector<Index> received(expected.size());
        all.all_to_all_v(view(std::as_const(sent)), view(std::as_const(out_counts)), view(received),
                         view(std::as_const(in_counts)));
        expect(received == expected, "all_to_all_v");
        // And back: the identity.
        std::vector<Index> home(sent.size());
        all.all_to_all_v(view(std::as_const(received)), view(std::as_const(in_counts)), view(home),
                         view(std::as_const(out_counts)));
        expect(home == sent, "all_to_all_v there and back");

        // A ring by send and receive: even ranks send first.
        if (world > 1) {
          const Index next = (me + 1) % world, before = (me + world - 1) % world;
          std::vector<Index> token{me}, got{-1};
          if (me % 2 == 0) {
            all.send(next, view(std::as_const(token)));
            all.receive(before, view(got));
          } else {
            all.receive(before, view(got));
            all.send(next, view(std::as_const(token)));
          }
          expect(got[0] == before, "send and receive");
        }
        // Nothing at all is a contribution too.
        all.all_gather(std::span<const float>{}, std::span<float>{});
        all.sum(std::span<std::int64_t>{});
      }
    }));
  }
}

TEST_CASE_TEMPLATE_DEFINE("groups along axes work beside one another", World, axes) {
  const mp::Layout layout{.world = 8, .expert = 2, .dense_shard = 4, .expert_shard = 2};
  CHECK_NOTHROW(World::run(8, 20s, [&](auto& rank) {
    auto experts = rank.communicator("expert", layout.expert_group(rank.rank()));
    auto shards = rank.communicator("shard", layout.shard_group(mp::Kind::dense, rank.rank()));
    auto replicas = rank.communicator("replica", layout.replica_group(mp::Kind::dense, rank.rank()));
    for (int round = 0; round < 20; ++round) {
      for (auto* group : {&experts, &shards, &replicas}) {
        std::vector<std::int64_t> value{rank.rank()};
        group->sum(std::span<std::int64_t>{value});
        std::int64_t sum = 0;
        const auto members = group == &experts  ? layout.expert_group(rank.rank())
                             : group == &shards ? layout.shard_group(mp::Kind::dense, rank.rank())
                                                : layout.replica_group(mp::Kind::dense, rank.rank());
        for (Index i = 0; i < members.size; ++i) sum += members.member(i, rank.rank());
        expect(value[0] == sum, "sum over an axis");
      }
    }
  }));
}

TEST_CASE_TEMPLATE_DEFINE("groups of one axis differ by first rank, size and stride", World, strides) {
  CHECK_NOTHROW(World::run(6, 20s, [&](auto& rank) {
    const Index me = rank.rank();
    auto near = rank.communicator("axis", {.size = 2, .rank = me % 2, .stride = 1});
    auto far = rank.communicator("axis", {.size = 2, .rank = me / 3, .stride = 3});
    auto three = rank.communicator("axis", {.size = 3, .rank = me % 3, .stride = 1});
    const auto sum = [&](auto& group, Index expected) {
      std::vector<std::int64_t> value{me};
      group.sum(std::span<std::int64_t>{value});
      expect(value[0] == expected, "sum over a group");
    };
    for (int round = 0; round < 3; ++round) {
      sum(near, me / 2 * 4 + 1);
      sum(far, me % 3 * 2 + 3);
      sum(three, me / 3 * 9 + 3);
    }
  }));
}

TEST_CASE_TEMPLATE_DEFINE("reduce_scatter: one hash on every world size, whoever holds the granules", World, reduces) {
  for (const Index granules : {8, 12, 24}) {
    const mp::GranuleTree tree{granules};
    constexpr Index elements = 2500;  // blocks of 1024, the last one short
    // Leaves that depend on the granule only.
    const auto leaf = [&](Index granule) {
      std::vector<float> values(elements);
      mp::fill_normal(std::span<float>{values}, mp::random_key(5, "leaf"), granule, 0, 0.0f, 1.0f);
      return values;
    };
    // The sum element by element, all granules pushed by one hand.
    std::vector<std::vector<float>> all_leaves;
    for (Index granule = 0; granule < granules; ++granule) all_leaves.push_back(leaf(granule));
    std::vector<float> reference;
    for (std::size_t i = 0; i < elements; ++i) {
      mp::PartStack<float> stack{tree};
      for (Index granule = 0; granule < granules; ++granule)
        stack.push({granule, granule + 1}, all_leaves[static_cast<std::size_t>(granule)][i]);
      reference.push_back(stack.finish());
    }
    std::vector<std::uint64_t> hashes{mp::tensor_hash("sum", 0, std::span<const float>{reference})};
    for (const Index world : world_sizes) {
      if (granules % world != 0) continue;
      std::atomic<std::uint64_t> hash{0};
      World::run(world, 20s, [&](auto& rank) {
        auto all = rank.communicator();
        const Index own = granules / world;
        // Parts of this rank: its granules, pushed. Each part is followed by room that is not part of it.
        constexpr Index stride = elements + 3;
        std::vector<std::vector<float>> leaves;
        for (Index i = 0; i < own; ++i) leaves.push_back(leaf(rank.rank() * own + i));
        mp::PartSum sum;
        mp::Scratch scratch;
        for (Index i = 0; i < own; ++i) sum.add({rank.rank() * own + i, rank.rank() * own + i + 1}, i);
        sum.plan(tree);
        std::vector<float> parts(sum.sums().size() * stride);
        sum.run<float>(
            elements, [&](Index i) { return leaves[static_cast<std::size_t>(i)].data(); },
            [&](Index i) { return parts.data() + i * stride; }, scratch);
        // Uneven shards, the last rank's empty when it is not alone. And the same backwards, as a second piece.
        std::vector<Index> counts(static_cast<std::size_t>(world), 0);
        counts[0] = elements;
        for (Index r = 1; r + 1 < world; ++r) {
          counts[static_cast<std::size_t>(r)] = 301;
          counts[0] -= 301;
        }
        const std::vector<Index> backwards{counts.rbegin(), counts.rend()};
        const auto me = static_cast<std::size_t>(rank.rank());
        std::vector<float> shard(static_cast<std::size_t>(counts[me]));
        std::vector<float> second(static_cast<std::size_t>(backwards[me]));
        const mp::ReducePiece<float> pieces[] = {
            {.own = parts.data(), .stride = stride, .counts = counts.data(), .sums = shard.data()},
            {.own = parts.data(), .stride = stride, .counts = backwards.data(), .sums = second.data()}};
        mp::GranuleRange left[1];
        const Index number = all.reduce_scatter(tree, sum.sums(), std::span<const mp::ReducePiece<float>>{pieces},
                                                std::span<mp::GranuleRange>{left});
        expect(number == 1 && left[0] == mp::GranuleRange{0, granules}, "the tree is closed");
        const Index first = std::accumulate(counts.begin(), counts.begin() + rank.rank(), Index{0});
        const Index other = std::accumulate(backwards.begin(), backwards.begin() + rank.rank(), Index{0});
        expect(std::equal(second.begin(), second.end(), reference.begin() + other), "the second piece");
        hash += mp::tensor_hash("sum", first, std::span<const float>{shard});
      });
      hashes.push_back(hash);
    }
    CHECK(std::count(hashes.begin(), hashes.end(), hashes.front()) == static_cast<std::ptrdiff_t>(hashes.size()));
  }
}

// Runs a world in which some rank is at fault; returns what every other rank threw.
template <class World, class Body>
std::vector<std::string> reports(Index world, std::chrono::milliseconds deadline, Index culprit,
                                 mp::CollectiveError::Reason reason, Body body) {
  std::vector<std::string> texts(static_cast<std::size_t>(world));
  const auto start = std::chrono::steady_clock::now();
  std::atomic<bool> suspected{true};
  std::atomic<std::chrono::steady_clock::rep> slowest{0};
  try {
    World::run(world, deadline, [&](auto& rank) {
      try {
        body(rank);
      } catch (const mp::CollectiveError& error) {
        texts[static_cast<std::size_t>(rank.rank())] = error.what();
        const auto& suspects = error.suspects();
        if (std::find(suspects.begin(), suspects.end(), culprit) == suspects.end() || error.reason() != reason)
          suspected = false;
        const auto took = (std::chrono::steady_clock::now() - start).count();
        for (auto seen = slowest.load(); took > seen && !slowest.compare_exchange_weak(seen, took);) {
        }
        throw;
      }
    });
  } catch (const std::exception&) {
  }
  CHECK(suspected);
  // Only a rank that does not come takes the deadline to notice.
  const auto limit = reason == mp::CollectiveError::Reason::deadline ? deadline + 1s : deadline / 2;
  CHECK(std::chrono::steady_clock::duration{slowest} < limit);
  return texts;
}

inline void check_all_others_report(const std::vector<std::string>& texts, Index culprit, const std::string& needle) {
  for (Index rank = 0; rank < static_cast<Index>(texts.size()); ++rank) {
    if (rank == culprit) continue;
    const auto& text = texts[static_cast<std::size_t>(rank)];
    CAPTURE(rank);
    CAPTURE(text);
    CHECK(text.find(needle) != std::string::npos);
    CHECK(text.starts_with("moepar: rank " + std::to_string(rank) + " gave up "));
  }
}

TEST_CASE_TEMPLATE_DEFINE("a rank that throws ends every call of the world, also on other axes", World, throws) {
  const mp::Layout layout{.world = 4, .expert = 2};
  const auto texts = reports<World>(4, 20s, 2, mp::CollectiveError::Reason::rank_left, [&](auto& rank) {
    auto all = rank.communicator();
    auto experts = rank.communicator("expert", layout.expert_group(rank.rank()));
    all.barrier();
    if (rank.rank() == 2) throw std::runtime_error{"out of luck"};
    experts.barrier();  // ranks 0 and 1 pass, rank 3 waits for rank 2
    all.barrier();
  });
  check_all_others_report(texts, 2, "rank 2 threw 'out of luck', last completed: barrier<world>, call 1");
}

TEST_CASE_TEMPLATE_DEFINE("a rank that returns early is named with its last call", World, returns) {
  const auto texts = reports<World>(3, 20s, 1, mp::CollectiveError::Reason::rank_left, [](auto& rank) {
    auto all = rank.communicator();
    std::vector<std::int64_t> value{1};
    all.sum(std::span<std::int64_t>{value});
    if (rank.rank() == 1) return;
    all.barrier();
  });
  check_all_others_report(texts, 1, "rank 1 returned, last completed: sum<world, i64> of 1, call 1");
}

struct CountAtEnd {
  explicit CountAtEnd(std::atomic<int>& counted) : counter{counted} {}
  ~CountAtEnd() { ++counter; }
  CountAtEnd(const CountAtEnd&) = delete;
  CountAtEnd& operator=(const CountAtEnd&) = delete;
  std::atomic<int>& counter;
};

TEST_CASE_TEMPLATE_DEFINE("a rank that stalls is named at the deadline", World, stalls) {
  // The stalled rank waits until the others have given up, so that nothing here depends on how long things take.
  std::atomic<int> gave_up{0};
  const auto texts = reports<World>(3, 100ms, 0, mp::CollectiveError::Reason::deadline, [&](auto& rank) {
    auto all = rank.communicator();
    all.barrier();
    if (rank.rank() == 0) {
      while (gave_up < 2) World::pause(rank);
    }
    const CountAtEnd count{gave_up};
    all.barrier();
  });
  check_all_others_report(
      texts, 0,
      "rank 0 did not come to barrier<world>, call 2 within 100 ms; rank 0 is outside of any call, last "
      "completed: barrier<world>, call 1");
}

TEST_CASE_TEMPLATE_DEFINE("different calls are reported with both signatures, on all ranks, before data moves", World,
                          mismatches) {
  const auto expect_mismatch = [](const char* needle, auto odd, auto even) {
    const auto texts = reports<World>(4, 20s, 1, mp::CollectiveError::Reason::mismatch, [&](auto& rank) {
      auto all = rank.communicator();
      rank.rank() == 1 ? odd(all) : even(all);
    });
    for (const auto& text : texts) {
      CAPTURE(text);
      CHECK(text.find("the members of the group made different calls") != std::string::npos);
      CHECK(text.find(needle) != std::string::npos);
    }
  };
  std::vector<std::vector<float>> floats(4, std::vector<float>(8, -1.0f));
  using C = typename World::Communicator;
  const auto gather = [&](C& all) {
    auto& mine = floats[static_cast<std::size_t>(all.rank())];
    all.all_gather(std::span<const float>{mine}.first(2), std::span<float>{mine});
  };
  expect_mismatch(
      "rank 0 all_gather<world, f32> of 8, call 1, rank 1 barrier<world>, call 1", [](C& all) { all.barrier(); },
      gather);
  expect_mismatch(
      "rank 1 all_gather<world, i64> of 8",
      [](C& all) {
        std::vector<Index> in(2), out(8);
        all.all_gather(std::span<const Index>{in}, std::span<Index>{out});
      },
      gather);
  expect_mismatch(
      "rank 0 all_gather<world, f32> of 8, call 1, rank 1 all_gather<world, f32> of 12, call 1",
      [](C& all) {
        std::vector<float> in(3), out(12);
        all.all_gather(std::span<const float>{in}, std::span<float>{out});
      },
      gather);
  expect_mismatch(
      "their lists of counts differ",
      [](C& all) {
        std::vector<float> in(3), out(8);
        const std::vector<Index> counts{1, 3, 2, 2};
        all.all_gather(std::span<const float>{in}, std::span<float>{out}, std::span<const Index>{counts});
      },
      gather);
  expect_mismatch(
      "broadcast<world, f32> of 2 from 3",
      [](C& all) {
        std::vector<float> data(2);
        all.broadcast(3, std::span<float>{data});
      },
      [](C& all) {
        std::vector<float> data(2);
        all.broadcast(0, std::span<float>{data});
      });
  expect_mismatch(
      "the first sends the second 1 elements, it expects 2",
      [](C& all) {
        const std::vector<Index> ones{1, 1, 1, 1}, in_counts{2, 1, 1, 1};
        std::vector<float> out(4), in(5);
        all.all_to_all_v(std::span<const float>{out}, std::span<const Index>{ones}, std::span<float>{in},
                         std::span<const Index>{in_counts});
      },
      [](C& all) {
        const std::vector<Index> ones{1, 1, 1, 1};
        std::vector<float> out(4), in(4);
        all.all_to_all_v(std::span<const float>{out}, std::span<const Index>{ones}, std::span<float>{in},
                         std::span<const Index>{ones});
      });
  // Several arrays in one call: their number, and the counts of each.
  const auto pieces = [](Index number, std::vector<Index> counts) {
    return [number, counts](C& all) {
      const std::vector<float> in(8);
      std::vector<float> out(8);
      const std::vector<mp::GatherPiece<float>> gathered(static_cast<std::size_t>(number),
                                                         {in.data(), out.data(), counts.data()});
      all.all_gather(std::span<const mp::GatherPiece<float>>{gathered});
    };
  };
  expect_mismatch("(the first has 1 pieces, the second 2)", pieces(2, {1, 1, 1, 1}), pieces(1, {2, 2, 2, 2}));
  expect_mismatch("their lists of counts differ", pieces(2, {1, 1, 0, 2}), pieces(2, {1, 1, 1, 1}));
  const auto reduction = [](std::vector<Index> counts, mp::GranuleTree tree = mp::GranuleTree{4}) {
    return [counts, tree](C& all) {
      const std::vector<float> in(8);
      std::vector<float> out(8);
      const mp::ReducePiece<float> piece{.own = in.data(), .stride = 8, .counts = counts.data(), .sums = out.data()};
      const mp::GranuleRange granule{all.rank(), all.rank() + 1};
      mp::GranuleRange left[1];
      all.reduce_scatter(tree, {&granule, 1}, std::span<const mp::ReducePiece<float>>{&piece, 1},
                         std::span<mp::GranuleRange>{left});
    };
  };
  expect_mismatch("their lists of counts differ", reduction({0, 2, 2, 4}), reduction({2, 2, 2, 2}));
  expect_mismatch("their trees of granules differ", reduction({2, 2, 2, 2}, mp::GranuleTree{8}),
                  reduction({2, 2, 2, 2}));
  for (const auto& data : floats) CHECK(data == std::vector<float>(8, -1.0f));
}

TEST_CASE_TEMPLATE_DEFINE("who waits elsewhere is not blamed, but the one that is waited for", World, chains) {
  // 0 waits for 1, which waits for 2, which does not come; 3 notices nothing of its own.
  std::atomic<int> gave_up{0};
  const auto texts = reports<World>(4, 100ms, 2, mp::CollectiveError::Reason::deadline, [&](auto& rank) {
    const Index me = rank.rank();
    auto all = rank.communicator();
    auto first = rank.communicator("first", {.size = 2, .rank = me % 2, .stride = 1});
    auto second = rank.communicator("second", {.size = me == 1 || me == 2 ? 2 : 1, .rank = me == 2, .stride = 1});
    if (me == 2) {
      while (gave_up < 3) World::pause(rank);
      all.barrier();
    }
    const CountAtEnd count{gave_up};
    for (int i = 0; i < 20 && me != 0; ++i) World::pause(rank);  // rank 0 is the first to have waited too long
    if (me == 0) first.barrier();
    if (me == 1) second.barrier();
    all.barrier();
  });
  check_all_others_report(texts, 2, "rank 2 is outside of any call, last completed: no call");
  for (const auto& text : texts) CHECK(text.find("; rank 1 is in") == std::string::npos);
}

TEST_CASE_TEMPLATE_DEFINE("calls in another order on two axes end at the deadline, with the place of the other named",
                          World, order) {
  std::vector<std::string> texts(2);
  CHECK_THROWS_AS((World::run(2, 100ms,
                              [&](auto& rank) {
                                const mp::Group both{.size = 2, .rank = rank.rank(), .stride = 1};
                                auto first = rank.communicator("first", both),
                                     second = rank.communicator("second", both);
                                try {
                                  (rank.rank() == 0 ? first : second).barrier();
                                } catch (const mp::CollectiveError& error) {
                                  CHECK(error.reason() == mp::CollectiveError::Reason::deadline);
                                  texts[static_cast<std::size_t>(rank.rank())] = error.what();
                                  throw;
                                }
                              })),
                  mp::CollectiveError);
  // Who is first to give up is a matter of time; that one names where the other is.
  const bool zero_first = texts[0].find("rank 1 is in barrier<second>, call 1") != std::string::npos;
  const bool one_first = texts[1].find("rank 0 is in barrier<first>, call 1") != std::string::npos;
  CAPTURE(texts[0]);
  CAPTURE(texts[1]);
  CHECK((zero_first || one_first));
  CHECK(texts[0].find("gave up barrier<first>") != std::string::npos);
  CHECK(texts[1].find("gave up barrier<second>") != std::string::npos);
}

TEST_CASE_TEMPLATE_DEFINE("bad arguments are refused before anybody waits", World, arguments) {
  World::run(1, 20s, [](auto& rank) {
    auto all = rank.communicator();
    std::vector<float> two(2), three(3);
    const auto refused = [](auto call) {
      try {
        call();
      } catch (const mp::CollectiveError&) {
        return false;
      } catch (const mp::Error& error) {
        return std::string{error.what()}.find(". Fix: ") != std::string::npos;
      }
      return false;
    };
    expect(refused([&] { all.broadcast(1, std::span<float>{two}); }), "root beyond the group");
    expect(refused([&] { all.all_gather(std::span<const float>{two}, std::span<float>{three}); }), "size of all");
    expect(refused([&] { all.all_to_all(std::span<const float>{two}, std::span<float>{three}); }), "size of in");
    expect(refused([&] { all.send(0, std::span<const float>{two}); }), "send to oneself");
    expect(refused([&] { (void)rank.communicator("far", {.size = 2, .rank = 0, .stride = 1}); }),
           "group beyond the world");
    const std::vector<Index> negative{-2};
    expect(refused([&] {
             all.all_to_all_v(std::span<const float>{two}, std::span<const Index>{negative}, std::span<float>{two},
                              std::span<const Index>{negative});
           }),
           "negative counts");
    const auto reduced = [&](std::vector<mp::GranuleRange> ranges, Index count, Index room) {
      const mp::ReducePiece<float> piece{.own = two.data(), .counts = &count, .sums = three.data()};
      std::vector<mp::GranuleRange> left(static_cast<std::size_t>(room));
      all.reduce_scatter(mp::GranuleTree{4}, std::span<const mp::GranuleRange>{ranges},
                         std::span<const mp::ReducePiece<float>>{&piece, 1}, std::span<mp::GranuleRange>{left});
    };
    expect(refused([&] { reduced({{0, 1}}, -1, 1); }), "negative counts of a piece");
    expect(refused([&] { reduced({{0, 1}, {2, 3}}, 1, 1); }), "no room for two sums");
    expect(refused([&] { reduced({{0, 2}, {1, 2}}, 1, 2); }), "parts that overlap");
    expect(refused([&] { reduced({{1, 3}}, 1, 1); }), "a part that is no node");
    reduced({{0, 1}, {2, 3}}, 1, 2);
  });
  CHECK_THROWS_AS(World::run(0, 20s, [](auto&) {}), mp::Error);
}

}  // namespace laws
