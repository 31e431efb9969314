// SPDX-License-Identifier: Apache-2.0
// The laws of a communicator, at several world sizes, and what happens when a rank is at fault.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstdint>
#include <moepar/comm/communicator.hpp>
#include <moepar/comm/threads/thread_world.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/normal.hpp>
#include <moepar/core/random.hpp>
#include <moepar/topology/layout.hpp>
#include <numeric>
#include <span>
#include <string>
#include <vector>

namespace mp = moepar;
using mp::Index;
using namespace std::chrono_literals;

static_assert(mp::communicator<mp::ThreadCommunicator> && mp::has_broadcast<mp::ThreadCommunicator> &&
              mp::has_all_gather<mp::ThreadCommunicator> && mp::has_reduce_scatter<mp::ThreadCommunicator> &&
              mp::has_integer_reduction<mp::ThreadCommunicator> && mp::has_all_to_all<mp::ThreadCommunicator> &&
              mp::has_all_to_all_v<mp::ThreadCommunicator> && mp::has_send_receive<mp::ThreadCommunicator>);

namespace {

constexpr Index world_sizes[] = {1, 2, 3, 4, 6, 8};

// doctest's assertions are not for many threads at once: ranks throw instead.
void expect(bool condition, const char* what) {
  if (!condition) throw mp::Error{what};
}

template <class T> std::span<const T> view(const std::vector<T>& values) { return values; }
template <class T> std::span<T> view(std::vector<T>& values) { return values; }

std::vector<Index> numbers(Index count, Index first = 0) {
  std::vector<Index> out(static_cast<std::size_t>(count));
  std::iota(out.begin(), out.end(), first);
  return out;
}

}  // namespace

TEST_CASE("collectives move what they say, on every world size") {
  for (const Index world : world_sizes) {
    CAPTURE(world);
    CHECK_NOTHROW(mp::ThreadWorld{world}.run([&](mp::ThreadWorld::Rank& rank) {
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

TEST_CASE("groups along axes work beside one another") {
  const mp::Layout layout{.world = 8, .expert = 2, .dense_shard = 4, .expert_shard = 2};
  CHECK_NOTHROW(mp::ThreadWorld{8}.run([&](mp::ThreadWorld::Rank& rank) {
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

TEST_CASE("reduce_scatter: one hash on every world size, whoever holds the granules") {
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
      mp::ThreadWorld{world}.run([&](mp::ThreadWorld::Rank& rank) {
        auto all = rank.communicator();
        const Index own = granules / world;
        // Parts of this rank: its granules, pushed.
        std::vector<std::vector<float>> leaves;
        for (Index i = 0; i < own; ++i) leaves.push_back(leaf(rank.rank() * own + i));
        std::vector<mp::Part<const float*>> inputs, parts;
        for (Index i = 0; i < own; ++i) {
          const Index granule = rank.rank() * own + i;
          inputs.push_back({{granule, granule + 1}, leaves[static_cast<std::size_t>(i)].data()});
        }
        std::vector<std::vector<float>> held(mp::GranuleTree::max_parts, std::vector<float>(elements));
        std::vector<mp::Part<float*>> sums;
        for (auto& buffer : held) sums.push_back({{}, buffer.data()});
        const Index count = mp::sum_parts<float>(tree, inputs, 0, elements, sums);
        for (Index i = 0; i < count; ++i)
          parts.push_back({sums[static_cast<std::size_t>(i)].granules, sums[static_cast<std::size_t>(i)].value});
        // Uneven shards, the last rank's empty when it is not alone.
        std::vector<Index> counts(static_cast<std::size_t>(world), 0);
        counts[0] = elements;
        for (Index r = 1; r + 1 < world; ++r) {
          counts[static_cast<std::size_t>(r)] = 301;
          counts[0] -= 301;
        }
        const Index mine = counts[static_cast<std::size_t>(rank.rank())];
        std::vector<float> shard(static_cast<std::size_t>(mine));
        std::vector<mp::Part<float*>> result{{{}, shard.data()}};
        const Index left = all.reduce_scatter(tree, std::span<const mp::Part<const float*>>{parts},
                                              view(std::as_const(counts)), std::span<mp::Part<float*>>{result});
        expect(left == 1 && result[0].granules == mp::GranuleRange{0, granules}, "the tree is closed");
        const Index first = std::accumulate(counts.begin(), counts.begin() + rank.rank(), Index{0});
        hash += mp::tensor_hash("sum", first, std::span<const float>{shard});
      });
      hashes.push_back(hash);
    }
    CHECK(std::count(hashes.begin(), hashes.end(), hashes.front()) == static_cast<std::ptrdiff_t>(hashes.size()));
  }
}

namespace {

// Runs a world in which some rank is at fault; returns what every other rank threw.
template <class Body>
std::vector<std::string> reports(Index world, std::chrono::milliseconds deadline, Index culprit,
                                 mp::CollectiveError::Reason reason, Body body) {
  std::vector<std::string> texts(static_cast<std::size_t>(world));
  const auto start = std::chrono::steady_clock::now();
  std::atomic<bool> suspected{true};
  std::atomic<std::chrono::steady_clock::rep> slowest{0};
  try {
    mp::ThreadWorld{world, deadline}.run([&](mp::ThreadWorld::Rank& rank) {
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

void check_all_others_report(const std::vector<std::string>& texts, Index culprit, const std::string& needle) {
  for (Index rank = 0; rank < static_cast<Index>(texts.size()); ++rank) {
    if (rank == culprit) continue;
    const auto& text = texts[static_cast<std::size_t>(rank)];
    CAPTURE(rank);
    CAPTURE(text);
    CHECK(text.find(needle) != std::string::npos);
    CHECK(text.starts_with("moepar: rank " + std::to_string(rank) + " gave up "));
  }
}

}  // namespace

TEST_CASE("a rank that throws ends every call of the world, also on other axes") {
  const mp::Layout layout{.world = 4, .expert = 2};
  const auto texts = reports(4, 20s, 2, mp::CollectiveError::Reason::rank_left, [&](mp::ThreadWorld::Rank& rank) {
    auto all = rank.communicator();
    auto experts = rank.communicator("expert", layout.expert_group(rank.rank()));
    all.barrier();
    if (rank.rank() == 2) throw std::runtime_error{"out of luck"};
    experts.barrier();  // ranks 0 and 1 pass, rank 3 waits for rank 2
    all.barrier();
  });
  check_all_others_report(texts, 2, "rank 2 threw 'out of luck', last completed: barrier<world>, call 1");
}

TEST_CASE("a rank that returns early is named with its last call") {
  const auto texts = reports(3, 20s, 1, mp::CollectiveError::Reason::rank_left, [](mp::ThreadWorld::Rank& rank) {
    auto all = rank.communicator();
    std::vector<std::int64_t> value{1};
    all.sum(std::span<std::int64_t>{value});
    if (rank.rank() == 1) return;
    all.barrier();
  });
  check_all_others_report(texts, 1, "rank 1 returned, last completed: sum<world, i64> of 1, call 1");
}

TEST_CASE("a rank that stalls is named at the deadline") {
  // The stalled rank waits until the others have given up, so that nothing here depends on how long things take.
  std::atomic<int> gave_up{0};
  const auto texts = reports(3, 100ms, 0, mp::CollectiveError::Reason::deadline, [&](mp::ThreadWorld::Rank& rank) {
    auto all = rank.communicator();
    all.barrier();
    if (rank.rank() == 0) {
      while (gave_up < 2) std::this_thread::yield();
    }
    struct Count {
      std::atomic<int>& counter;
      ~Count() { ++counter; }
    } count{gave_up};
    all.barrier();
  });
  check_all_others_report(
      texts, 0,
      "rank 0 did not come to barrier<world>, call 2 within 100 ms; rank 0 is outside of any call, last "
      "completed: barrier<world>, call 1");
}

TEST_CASE("different calls are reported with both signatures, on all ranks, before data moves") {
  const auto expect_mismatch = [](const char* needle, auto odd, auto even) {
    const auto texts = reports(4, 20s, 1, mp::CollectiveError::Reason::mismatch, [&](mp::ThreadWorld::Rank& rank) {
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
  using C = mp::ThreadCommunicator;
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
  for (const auto& data : floats) CHECK(data == std::vector<float>(8, -1.0f));
}

TEST_CASE("calls in another order on two axes end at the deadline, with the place of the other named") {
  std::vector<std::string> texts(2);
  CHECK_THROWS_AS((mp::ThreadWorld{2, 100ms}.run([&](mp::ThreadWorld::Rank& rank) {
                    const mp::Group both{.size = 2, .rank = rank.rank(), .stride = 1};
                    auto first = rank.communicator("first", both), second = rank.communicator("second", both);
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

TEST_CASE("bad arguments are refused before anybody waits") {
  mp::ThreadWorld world{1};
  world.run([](mp::ThreadWorld::Rank& rank) {
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
  });
  CHECK_THROWS_AS(mp::ThreadWorld{0}, mp::Error);
}
