// SPDX-License-Identifier: Apache-2.0
#include <moepar/data/token_blocks.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cstdint>
#include <numeric>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include <moepar/core/error.hpp>

namespace {

using moepar::BlockSettings;
using moepar::Index;
using moepar::TokenBlocks;

std::vector<std::int32_t> counting(Index size) {
  std::vector<std::int32_t> tokens(static_cast<std::size_t>(size));
  std::iota(tokens.begin(), tokens.end(), 0);
  return tokens;
}

template <class Call> bool refused(std::string_view part, const Call& call) {
  try {
    call();
  } catch (const moepar::Error& error) {
    const std::string_view text = error.what();
    INFO(text);
    CHECK(text.find("Fix: ") != std::string_view::npos);
    return text.find(part) != std::string_view::npos;
  }
  return false;
}

TEST_CASE("the keyed permutation is one, for every size, key and epoch") {
  for (Index size = 1; size <= 130; ++size)
    for (Index epoch = 0; epoch < 3; ++epoch) {
      const moepar::KeyedPermutation permutation{moepar::random_key(7, "test"), size};
      std::vector<bool> seen(static_cast<std::size_t>(size));
      for (Index i = 0; i < size; ++i) {
        const Index image = permutation(epoch, i);
        REQUIRE((image >= 0 && image < size));
        CHECK(!seen[static_cast<std::size_t>(image)]);
        seen[static_cast<std::size_t>(image)] = true;
      }
    }
  const moepar::KeyedPermutation large{moepar::random_key(7, "test"), (Index{1} << 62) - 1};
  CHECK(large(0, 0) != large(1, 0));
}

TEST_CASE("over the epochs every block stands at every place equally often") {
  constexpr Index size = 5, epochs = 20000;
  const moepar::KeyedPermutation permutation{moepar::random_key(1, "test"), size};
  for (Index place = 0; place < size; ++place) {
    std::vector<double> count(size);
    for (Index epoch = 0; epoch < epochs; ++epoch) ++count[static_cast<std::size_t>(permutation(epoch, place))];
    double chi_squared = 0;
    for (const double each : count) chi_squared += (each - epochs / size) * (each - epochs / size) / (epochs / size);
    CHECK(chi_squared < 23.5);  // 4 degrees of freedom: a chance of 1 in 10,000
  }
}

TEST_CASE("blocks cover the text once, each target follows its input") {
  const TokenBlocks blocks{counting(108), {.length = 10, .batch = 4, .evaluation_fraction = 0.25}};
  CHECK(blocks.blocks() == 10);  // 107 pairs, 7 of them in the tail
  CHECK(blocks.training_blocks() == 8);
  CHECK(blocks.evaluation_blocks() == 2);
  std::set<std::int32_t> inputs;
  for (Index block = 0; block < blocks.blocks(); ++block)
    for (std::size_t i = 0; i < 10; ++i) {
      CHECK(blocks.targets(block)[i] == blocks.inputs(block)[i] + 1);
      CHECK(inputs.insert(blocks.inputs(block)[i]).second);
    }
  CHECK(*inputs.rbegin() == 99);
  CHECK(blocks.evaluation(0) == 8);
  CHECK(blocks.evaluation(1) == 9);
  CHECK(blocks.training_targets().front() == 1);
  CHECK(blocks.training_targets().back() == 80);
  CHECK(blocks.evaluation_targets().front() == 81);
  CHECK(blocks.evaluation_targets().back() == 100);
}

TEST_CASE("an epoch takes every training block once, whatever the batch, and no evaluation block") {
  for (const Index batch : {Index{1}, Index{3}, Index{8}, Index{20}}) {
    const TokenBlocks blocks{counting(101), {.length = 10, .batch = batch, .evaluation_fraction = 0.2, .seed = 5}};
    const Index each = blocks.training_blocks();
    std::vector<Index> taken;
    for (Index step = 1; step <= 24; ++step)
      for (Index index = 0; index < batch; ++index) taken.push_back(blocks.sequence(step, index));
    for (Index epoch = 0; (epoch + 1) * each <= static_cast<Index>(taken.size()); ++epoch) {
      const auto first = taken.begin() + epoch * each;
      const std::set<Index> distinct(first, first + each);
      CHECK(static_cast<Index>(distinct.size()) == each);
      CHECK(*distinct.rbegin() < each);
    }
  }
}

TEST_CASE("the order is a function of seed and place: fixed for ever, no state, another one each epoch") {
  const TokenBlocks blocks{counting(101), {.length = 10, .batch = 9, .evaluation_fraction = 0.1, .seed = 42}};
  std::vector<Index> first, second;
  for (Index index = 0; index < 9; ++index) first.push_back(blocks.sequence(1, index));
  for (Index index = 0; index < 9; ++index) second.push_back(blocks.sequence(2, index));
  CHECK(first == std::vector<Index>{6, 2, 5, 4, 8, 7, 1, 0, 3});
  CHECK(second == std::vector<Index>{2, 8, 0, 4, 7, 3, 6, 1, 5});
  const TokenBlocks small{counting(101), {.length = 10, .batch = 3, .evaluation_fraction = 0.1, .seed = 42}};
  CHECK(small.sequence(5, 1) == second[4]);  // sequence 13 of the run, whatever the batch
  CHECK(blocks.sequence(Index{1} << 40, 8) >= 0);
}

TEST_CASE("settings and places out of range are refused") {
  const auto make = [](Index tokens, BlockSettings settings) { TokenBlocks{counting(tokens), settings}; };
  CHECK(refused("length = 0", [&] { make(100, {.length = 0, .batch = 1}); }));
  CHECK(refused("batch = 0", [&] { make(100, {.length = 8, .batch = 0}); }));
  CHECK(refused("evaluation_fraction", [&] { make(100, {.length = 8, .batch = 1, .evaluation_fraction = 1.0}); }));
  CHECK(refused("evaluation_fraction", [&] { make(100, {.length = 8, .batch = 1, .evaluation_fraction = -0.1}); }));
  CHECK(refused("20 tokens is too short for a training and an evaluation block of 10 + 1 tokens",
                [&] { make(20, {.length = 10, .batch = 1}); }));
  CHECK(
      refused("too short for a block of 10", [&] { make(10, {.length = 10, .batch = 1, .evaluation_fraction = 0}); }));
  CHECK(refused("a text of 0 tokens", [&] { make(0, {.length = 1, .batch = 1, .evaluation_fraction = 0}); }));

  make(11, {.length = 10, .batch = 1, .evaluation_fraction = 0});
  make(21, {.length = 10, .batch = 1});
  const TokenBlocks blocks{counting(101), {.length = 10, .batch = 4, .evaluation_fraction = 0.2}};
  CHECK(refused("of step 0", [&] { (void)blocks.sequence(0, 0); }));
  CHECK(refused("sequence 4 of step 1", [&] { (void)blocks.sequence(1, 4); }));
  CHECK(refused("sequence -1", [&] { (void)blocks.sequence(1, -1); }));
  CHECK(refused("of step", [&] { (void)blocks.sequence(Index{1} << 62, 0); }));
  CHECK(refused("evaluation block 2 of 2", [&] { (void)blocks.evaluation(2); }));
  CHECK(refused("block 10 of 10", [&] { (void)blocks.inputs(10); }));
  CHECK(refused("block -1 of 10", [&] { (void)blocks.targets(-1); }));
}

}  // namespace
