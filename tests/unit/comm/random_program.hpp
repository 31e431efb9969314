// SPDX-License-Identifier: Apache-2.0
// A random sequence of collectives on random groups of a random world, that follows from a seed, and a rank's part in
// it, which checks every result.
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <moepar/comm/pieces.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/part_stack.hpp>
#include <moepar/topology/group.hpp>
#include <numeric>
#include <span>
#include <string>
#include <vector>

namespace laws {

namespace mp = moepar;
using mp::Index;

class Draw {
 public:
  explicit Draw(std::uint64_t seed) : state_{mp::mix(seed + 0x51ED)} {}
  Index operator()(Index bound) {
    state_ += 0x9E3779B97F4A7C15;
    return static_cast<Index>(mp::mix(state_) % static_cast<std::uint64_t>(bound));
  }

 private:
  std::uint64_t state_;
};

struct RandomProgram {
  static constexpr Index axes = 3;
  static constexpr const char* names[axes] = {"world", "near", "far"};
  enum class Kind { barrier, broadcast, gather, gather_uneven, gather_pieces, reduce, sum, maximum, all, all_v, pair };
  static constexpr Index kinds = 11;
  struct Step {
    Kind kind;
    Index axis;
    std::uint64_t seed;  // of what the members agree on
  };

  explicit RandomProgram(std::uint64_t seed) : draw_{seed}, world{1 + draw_(8)} {
    for (Index axis = 1; axis < axes; ++axis) {
      do size[axis] = 1 + draw_(world);
      while (world % size[axis] != 0);
      do stride[axis] = 1 + draw_(world / size[axis]);
      while (world / size[axis] % stride[axis] != 0);
    }
    size[0] = world;
    for (Index count = 3 + draw_(8); count > 0; --count)
      steps.push_back({static_cast<Kind>(draw_(kinds)), draw_(axes), static_cast<std::uint64_t>(draw_(1 << 30))});
    steps.push_back({Kind::barrier, 0, 0});  // so that nobody can do without the others
  }

  [[nodiscard]] mp::Group group(Index axis, Index rank) const {
    const Index in_block = rank % (size[axis] * stride[axis]);
    return {.size = size[axis], .rank = in_block / stride[axis], .stride = stride[axis]};
  }

  // How many calls this rank makes.
  [[nodiscard]] Index calls(Index rank) const {
    Index count = 0;
    for (const Step& step : steps) {
      const mp::Group members = group(step.axis, rank);
      if (step.kind != Kind::pair || (members.size > 1 && (members.rank == 0 || members.rank == members.size - 1)))
        ++count;
    }
    return count;
  }

 private:
  Draw draw_;

 public:
  Index world;
  Index size[axes] = {1, 1, 1}, stride[axes] = {1, 1, 1};
  std::vector<Step> steps;
};

// One rank's part in a program.
template <class Rank> class Player {
  using Kind = RandomProgram::Kind;
  using Communicator = decltype(std::declval<Rank&>().communicator());

 public:
  Player(const RandomProgram& program, Rank& rank) : program_{program}, rank_{rank} {
    for (Index axis = 0; axis < RandomProgram::axes; ++axis)
      communicators_.push_back(rank.communicator(RandomProgram::names[axis], program.group(axis, rank.rank())));
  }

  void play() {
    for (const auto& step : program_.steps) play(step);
  }

 private:
  // Element `index` of what the world rank has in a step: whole numbers, so that sums of int64 are exact.
  static float value(std::uint64_t seed, Index rank, Index index) {
    const std::uint64_t bits = mp::mix(seed + mp::mix(static_cast<std::uint64_t>(100 * index + rank + 1)));
    return static_cast<float>(static_cast<Index>(bits % 2000001) - 1000000) / 4096.0f;
  }
  template <class T> static std::vector<T> values(std::uint64_t seed, Index rank, Index count, Index first = 0) {
    std::vector<T> out;
    for (Index i = 0; i < count; ++i) out.push_back(static_cast<T>(value(seed, rank, first + i)));
    return out;
  }
  static Index random_count(Draw& draw) { return draw(20) == 0 ? 1500 + draw(1500) : draw(9); }
  static std::size_t at(Index i) { return static_cast<std::size_t>(i); }

  void play(const RandomProgram::Step& step) {
    Draw draw{step.seed};  // the same draws on every member
    auto& group = communicators_[at(step.axis)];
    const Index n = group.size(), me = group.rank(), own_rank = rank_.rank();
    const auto world_rank = [&](Index position) {
      return program_.group(step.axis, own_rank).member(position, own_rank);
    };
    const auto check = [&](bool condition) {
      if (!condition)
        throw mp::Error{"wrong result of operation " + std::to_string(static_cast<int>(step.kind)) + " on axis " +
                        RandomProgram::names[step.axis] + " at rank " + std::to_string(own_rank) + " of " +
                        std::to_string(program_.world)};
    };
    const auto counts_of = [&] {
      std::vector<Index> counts;
      for (Index i = 0; i < n; ++i) counts.push_back(random_count(draw));
      return counts;
    };
    const auto gathered = [&](const std::vector<Index>& counts, std::uint64_t seed) {
      std::vector<float> all;
      for (Index i = 0; i < n; ++i) {
        const auto part = values<float>(seed, world_rank(i), counts[at(i)]);
        all.insert(all.end(), part.begin(), part.end());
      }
      return all;
    };
    const std::uint64_t seed = step.seed;
    switch (step.kind) {
      case Kind::barrier:
        group.barrier();
        break;
      case Kind::broadcast: {
        const Index root = draw(n), count = random_count(draw);
        auto data = values<float>(seed, own_rank, count);
        group.broadcast(root, std::span<float>{data});
        check(data == values<float>(seed, world_rank(root), count));
        break;
      }
      case Kind::gather: {
        const std::vector<Index> counts(at(n), random_count(draw));
        std::vector<float> all(at(n * counts[0]));
        const auto own = values<float>(seed, own_rank, counts[0]);
        group.all_gather(std::span<const float>{own}, std::span<float>{all});
        check(all == gathered(counts, seed));
        break;
      }
      case Kind::gather_uneven: {  // in place
        const auto counts = counts_of();
        const auto expected = gathered(counts, seed);
        std::vector<float> all(expected.size());
        const Index begin = std::accumulate(counts.begin(), counts.begin() + me, Index{0});
        const auto own = values<float>(seed, own_rank, counts[at(me)]);
        std::copy(own.begin(), own.end(), all.begin() + begin);
        group.all_gather(std::span<const float>{all}.subspan(at(begin), own.size()), std::span<float>{all},
                         std::span<const Index>{counts});
        check(all == expected);
        break;
      }
      case Kind::gather_pieces: {
        const Index count = draw(4);
        std::vector<std::vector<Index>> counts;
        std::vector<std::vector<float>> own, all;
        std::vector<mp::GatherPiece<float>> pieces;
        for (Index i = 0; i < count; ++i) {
          counts.push_back(counts_of());
          own.push_back(values<float>(seed + at(i), own_rank, counts.back()[at(me)]));
          all.emplace_back(at(std::accumulate(counts.back().begin(), counts.back().end(), Index{0})));
        }
        for (Index i = 0; i < count; ++i)
          pieces.push_back({own[at(i)].data(), all[at(i)].data(), counts[at(i)].data()});
        group.all_gather(std::span<const mp::GatherPiece<float>>{pieces});
        for (Index i = 0; i < count; ++i) check(all[at(i)] == gathered(counts[at(i)], seed + at(i)));
        break;
      }
      case Kind::reduce: {
        // Each rank of the world has q granules, and a part for each node of their cover.
        const Index q = 1 + draw(3);
        const mp::GranuleTree tree{program_.world * q};
        const auto parts_of = [&](Index rank) {
          std::vector<mp::GranuleRange> ranges;
          mp::for_each_cover_node(tree, {rank * q, rank * q + q}, [&](auto range) { ranges.push_back(range); });
          return ranges;
        };
        const auto ranges = parts_of(own_rank);
        const Index count = 1 + draw(2);
        std::vector<std::vector<Index>> counts;
        std::vector<std::vector<float>> own, sums;
        std::vector<mp::ReducePiece<float>> pieces;
        std::vector<Index> total;
        constexpr Index most = mp::GranuleTree::max_parts;
        for (Index i = 0; i < count; ++i) {
          counts.push_back(counts_of());
          total.push_back(std::accumulate(counts.back().begin(), counts.back().end(), Index{0}));
          std::vector<float> data;
          for (const auto range : ranges) {
            const auto part = values<float>(seed + at(i), range.first, total.back() + 2);  // and two that are no part
            data.insert(data.end(), part.begin(), part.end());
          }
          own.push_back(data);
          sums.emplace_back(at(most * counts.back()[at(me)]));
        }
        const bool in_place = n > 1 && draw(2) == 0 && tree.is_node({world_rank(0) * q, world_rank(n - 1) * q + q}) &&
                              program_.group(step.axis, own_rank).stride == 1;
        for (Index i = 0; i < count; ++i) {
          const Index mine = counts[at(i)][at(me)];
          const Index begin = std::accumulate(counts[at(i)].begin(), counts[at(i)].begin() + me, Index{0});
          pieces.push_back({own[at(i)].data(), total[at(i)] + 2, counts[at(i)].data(),
                            in_place ? own[at(i)].data() + begin : sums[at(i)].data(), mine});
        }
        std::vector<mp::GranuleRange> left(at(most));
        const Index number =
            group.reduce_scatter(tree, std::span<const mp::GranuleRange>{ranges},
                                 std::span<const mp::ReducePiece<float>>{pieces}, std::span<mp::GranuleRange>{left});
        for (Index i = 0; i < count; ++i) {
          const Index mine = counts[at(i)][at(me)];
          const Index begin = std::accumulate(counts[at(i)].begin(), counts[at(i)].begin() + me, Index{0});
          for (Index element = 0; element < std::max<Index>(mine, 1); ++element) {
            mp::PartStack<float> stack{tree};
            for (Index member = 0; member < n; ++member)
              for (const auto range : parts_of(world_rank(member)))
                stack.push(range, value(seed + at(i), range.first, begin + element));
            check(number == static_cast<Index>(stack.parts().size()));
            for (Index sum = 0; sum < number; ++sum) {
              check(left[at(sum)] == stack.parts()[at(sum)].granules);
              if (mine > 0) check(pieces[at(i)].sums[sum * mine + element] == stack.parts()[at(sum)].value);
            }
          }
        }
        break;
      }
      case Kind::sum:
      case Kind::maximum: {
        const Index count = random_count(draw);
        auto data = values<Index>(seed, own_rank, count);
        step.kind == Kind::sum ? group.sum(std::span<Index>{data}) : group.maximum(std::span<Index>{data});
        auto expected = values<Index>(seed, world_rank(0), count);
        for (Index member = 1; member < n; ++member) {
          const auto theirs = values<Index>(seed, world_rank(member), count);
          for (std::size_t i = 0; i < expected.size(); ++i)
            expected[i] = step.kind == Kind::sum ? expected[i] + theirs[i] : std::max(expected[i], theirs[i]);
        }
        check(data == expected);
        break;
      }
      case Kind::all: {
        const Index block = random_count(draw);
        const auto out = values<float>(seed, own_rank, n * block);
        std::vector<float> in(out.size()), expected;
        group.all_to_all(std::span<const float>{out}, std::span<float>{in});
        for (Index member = 0; member < n; ++member) {
          const auto part = values<float>(seed, world_rank(member), block, me * block);
          expected.insert(expected.end(), part.begin(), part.end());
        }
        check(in == expected);
        break;
      }
      case Kind::all_v: {
        std::vector<Index> table;  // what each sends each
        for (Index i = 0; i < n * n; ++i) table.push_back(random_count(draw));
        std::vector<Index> out_counts, in_counts;
        std::vector<float> out, expected;
        for (Index member = 0; member < n; ++member) {
          out_counts.push_back(table[at(me * n + member)]);
          in_counts.push_back(table[at(member * n + me)]);
          const auto sent = values<float>(seed + at(member), own_rank, out_counts.back());
          out.insert(out.end(), sent.begin(), sent.end());
          const auto got = values<float>(seed + at(me), world_rank(member), in_counts.back());
          expected.insert(expected.end(), got.begin(), got.end());
        }
        std::vector<float> in(expected.size());
        group.all_to_all_v(std::span<const float>{out}, std::span<const Index>{out_counts}, std::span<float>{in},
                           std::span<const Index>{in_counts});
        check(in == expected);
        break;
      }
      case Kind::pair: {  // the first member to the last
        const Index count = random_count(draw);
        if (n == 1 || (me != 0 && me != n - 1)) break;
        auto data = values<float>(seed, own_rank, count);
        me == 0 ? group.send(n - 1, std::span<const float>{data}) : group.receive(0, std::span<float>{data});
        check(data == values<float>(seed, world_rank(0), count));
        break;
      }
    }
  }

  const RandomProgram& program_;
  Rank& rank_;
  std::vector<Communicator> communicators_;
};

}  // namespace laws
