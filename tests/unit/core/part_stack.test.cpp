// SPDX-License-Identifier: Apache-2.0
#include <moepar/core/part_stack.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cstdint>
#include <vector>

#include <moepar/core/random.hpp>

namespace {

using moepar::GranuleRange;
using moepar::GranuleTree;
using moepar::Index;
using moepar::Part;
using moepar::PartStack;

constexpr float leaf(Index granule) { return 1.0f / static_cast<float>(granule * granule + 3); }
constexpr std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

constexpr std::uint32_t tree_sum(const GranuleTree& tree) {
  PartStack<float> stack{tree};
  for (Index granule = 0; granule < tree.granules(); ++granule) stack.push({granule, granule + 1}, leaf(granule));
  return bits(stack.finish());
}

constexpr std::uint32_t present_sum() {
  PartStack<float> stack{GranuleTree{8}};
  for (const Index granule : {1, 2, 7}) stack.push_present(granule, leaf(granule));
  stack.close();
  return bits(stack.parts()[0].value);
}

// The vectors; sums at compile time have the bits of sums at run time.
static_assert(tree_sum(GranuleTree{6}) == 0x3f65daca);
static_assert(tree_sum(GranuleTree{7}) == 0x3f6c6b33);
static_assert(tree_sum(GranuleTree{8}) == 0x3f715782);
static_assert(tree_sum(GranuleTree{12}) == 0x3f7cc2a2);
static_assert(tree_sum(GranuleTree{12, {3, 2, 2}}) == 0x3f7cc2a3);
static_assert(present_sum() == 0x3ed2fd30);

std::vector<GranuleTree> some_trees() {
  std::vector<GranuleTree> trees;
  for (Index granules = 1; granules <= 26; ++granules) trees.emplace_back(granules);
  trees.push_back({12, {3, 2, 2}});
  trees.push_back({24, {3, 2, 2, 2}});
  trees.push_back({21, {7, 3}});
  return trees;
}

//! Random bits for choices and leaves; no state, so that a failure can be repeated from its numbers.
std::uint32_t random(Index trial, Index index) {
  return moepar::random_word(moepar::random_key(7, "part_stack"), trial, index);
}
float random_leaf(Index trial, Index granule) {
  return static_cast<float>(moepar::uniform(random(trial, 1000 + granule)) - 0.5);
}

//! The sum by the definition, of the granules that `present` has, +0 for the others.
float recursive_sum(const GranuleTree& tree, Index first, Index length, const std::vector<float>& leaves) {
  if (length == 1) return leaves[static_cast<std::size_t>(first)];
  const Index left = tree.left(length);
  return recursive_sum(tree, first, left, leaves) + recursive_sum(tree, first + left, length - left, leaves);
}

TEST_CASE("the vectors at run time, and what running sums give instead") {
  CHECK(tree_sum(GranuleTree{6}) == 0x3f65daca);
  CHECK(tree_sum(GranuleTree{12, {3, 2, 2}}) == 0x3f7cc2a3);
  const std::uint32_t running[] = {0x3f65dac9, 0x3f6c6b32, 0x3f715781};
  for (Index granules = 6; granules <= 8; ++granules) {
    volatile float sum = 0;
    for (Index granule = 0; granule < granules; ++granule) sum = sum + leaf(granule);
    CHECK(bits(sum) == running[granules - 6]);
  }
}

TEST_CASE("any cut of the batch into holders, ranks and micro-steps gives the same bits") {
  for (const GranuleTree& tree : some_trees())
    for (Index trial = 0; trial < 40; ++trial) {
      CAPTURE(tree.granules());
      CAPTURE(trial);
      std::vector<float> leaves;
      for (Index granule = 0; granule < tree.granules(); ++granule) leaves.push_back(random_leaf(trial, granule));
      const float expected = recursive_sum(tree, 0, tree.granules(), leaves);

      // Two levels: granules into holders, holders into groups, groups into the root; each boundary by chance.
      PartStack<float> root{tree}, group{tree}, holder{tree};
      const auto pour = [](PartStack<float>& from, PartStack<float>& into) {
        for (const Part<float>& part : from.parts()) into.push(part);
        from.clear();
      };
      for (Index granule = 0; granule < tree.granules(); ++granule) {
        holder.push({granule, granule + 1}, leaves[static_cast<std::size_t>(granule)]);
        if (random(trial, granule) % 3 == 0) pour(holder, group);
        if (random(trial, granule) % 7 == 0) pour(holder, group), pour(group, root);
      }
      pour(holder, group), pour(group, root);
      REQUIRE(bits(root.finish()) == bits(expected));
      REQUIRE(root.parts().empty());
    }
}

TEST_CASE("what pushing a range leaves is its cover") {
  for (const GranuleTree& tree : some_trees())
    for (Index first = 0; first < tree.granules(); ++first)
      for (Index last = first + 1; last <= tree.granules(); ++last) {
        PartStack<float> stack{tree};
        for (Index granule = first; granule < last; ++granule) stack.push({granule, granule + 1}, 1.0f);
        std::size_t i = 0;
        moepar::for_each_cover_node(tree, {first, last}, [&](GranuleRange node) {
          REQUIRE(i < stack.parts().size());
          REQUIRE(stack.parts()[i].granules == node);
          REQUIRE(stack.parts()[i].value == static_cast<float>(node.count()));
          ++i;
        });
        REQUIRE(i == stack.parts().size());
      }
}

TEST_CASE("the merge tables drive a kernel's stack to the same bits") {
  for (const GranuleTree& tree : some_trees())
    for (Index first = 0; first < tree.granules(); ++first) {
      const GranuleRange range{first, tree.granules()};
      std::vector<std::uint8_t> merges(static_cast<std::size_t>(range.count()));
      tree.merge_table(range, merges);
      PartStack<float> expected{tree};
      std::vector<float> stack;
      for (Index granule = first; granule < range.last; ++granule) {
        float sum = random_leaf(3, granule);
        expected.push({granule, granule + 1}, sum);
        for (int i = 0; i < merges[static_cast<std::size_t>(granule - first)]; ++i) {
          sum = stack.back() + sum;
          stack.pop_back();
        }
        stack.push_back(sum);
        REQUIRE(static_cast<Index>(stack.size()) <= 2 * tree.depth() + 1);
      }
      REQUIRE(stack.size() == expected.parts().size());
      for (std::size_t i = 0; i < stack.size(); ++i) REQUIRE(bits(stack[i]) == bits(expected.parts()[i].value));
    }
}

TEST_CASE("skipped granules and granules of zeros agree, also through the table of present granules") {
  for (const GranuleTree& tree : some_trees())
    for (Index trial = 0; trial < 40; ++trial) {
      CAPTURE(tree.granules());
      CAPTURE(trial);
      PartStack<float> zeros{tree}, skips{tree};
      std::vector<Index> present;
      for (Index granule = 0; granule < tree.granules(); ++granule) {
        const bool has_rows = random(trial, granule) % 16 < static_cast<std::uint32_t>(trial % 16);
        const float value = has_rows ? random_leaf(trial, granule) : 0.0f;
        zeros.push({granule, granule + 1}, value);
        if (!has_rows) continue;
        skips.push_present(granule, value);
        present.push_back(granule);
      }
      skips.close();
      const float root = zeros.finish() + 0.0f;
      if (present.empty()) {
        REQUIRE(skips.parts().empty());
        REQUIRE(bits(root) == 0);
        continue;
      }
      REQUIRE(skips.parts().size() == 1);
      REQUIRE(bits(skips.parts()[0].value + 0.0f) == bits(root));

      std::vector<std::uint8_t> merges(present.size());
      moepar::present_merge_table(tree, present, merges);
      std::vector<float> stack;
      for (std::size_t i = 0; i < present.size(); ++i) {
        stack.push_back(random_leaf(trial, present[i]));
        for (int merge = 0; merge < merges[i]; ++merge) {
          const float sum = stack[stack.size() - 2] + stack.back();
          stack.pop_back();
          stack.back() = sum;
        }
      }
      REQUIRE(stack.size() == 1);
      REQUIRE(bits(stack[0] + 0.0f) == bits(root));
    }
}

TEST_CASE("a leaf of -0 by underflow: the root's + 0.0f makes skipping and zeros agree") {
  const volatile float tiny = -1e-30f, other = 1e-30f;
  const float minus_zero = tiny * other;
  PartStack<float> skips{GranuleTree{4}}, zeros{GranuleTree{4}};
  skips.push_present(2, minus_zero);
  skips.close();
  for (Index granule = 0; granule < 4; ++granule) zeros.push({granule, granule + 1}, granule == 2 ? minus_zero : 0.0f);
  CHECK(bits(skips.parts()[0].value) == 0x80000000);
  CHECK(bits(skips.parts()[0].value + 0.0f) == 0);
  CHECK(bits(zeros.finish() + 0.0f) == 0);
}

TEST_CASE("parts may be handles: an adder adds the buffers and releases the right one") {
  struct AddBuffers {
    std::vector<std::vector<float>>* buffers;
    std::vector<int>* released;
    void operator()(int left, int right) const {
      std::vector<float>&a = (*buffers)[static_cast<std::size_t>(left)],
      &b = (*buffers)[static_cast<std::size_t>(right)];
      for (std::size_t i = 0; i < a.size(); ++i) a[i] += b[i];
      released->push_back(right);
    }
  };
  std::vector<std::vector<float>> buffers;
  std::vector<int> released;
  PartStack<int, AddBuffers> stack{GranuleTree{6}, {&buffers, &released}};
  for (Index granule = 0; granule < 6; ++granule) {
    buffers.push_back({leaf(granule), 1.0f});
    stack.push({granule, granule + 1}, static_cast<int>(granule));
  }
  const int root = stack.finish();
  CHECK(root == 0);
  CHECK(bits(buffers[0][0]) == 0x3f65daca);
  CHECK(buffers[0][1] == 6);
  CHECK(released == std::vector<int>{1, 2, 4, 5, 3});
}

TEST_CASE("wrong orders, foreign parts and sums that do not close are refused") {
  using doctest::Contains;
  using moepar::Error;
  const GranuleTree tree{6};
  PartStack<float> stack{tree};
  CHECK_THROWS_WITH_AS(stack.finish(), Contains("over the granules [0, 6) is not closed, it left nothing"), Error);
  stack.push({2, 3}, 1.0f);
  CHECK_THROWS_WITH_AS(stack.push({1, 2}, 1.0f), Contains("[1, 2) was pushed after [2, 3)"), Error);
  CHECK_THROWS_AS(stack.push({2, 3}, 1.0f), Error);  // twice
  CHECK_THROWS_AS(stack.push({0, 3}, 1.0f), Error);  // overlap
  CHECK_THROWS_WITH_AS(stack.push({3, 7}, 1.0f), Contains("[3, 7) are not a range within [0, 6)"), Error);
  CHECK_THROWS_WITH_AS(stack.push({4, 6}, 1.0f), Contains("[4, 6) are no node of the tree over 6"), Error);
  stack.push({5, 6}, 1.0f);  // a gap is found at the end
  CHECK_THROWS_WITH_AS(stack.finish(), Contains("it left [2, 3) [5, 6)"), Error);
  CHECK(stack.parts().size() == 2);      // a refused call changes nothing
  PartStack<float> gap{GranuleTree{3}};  // 0 begins where the node [0, 3) does, but is not its left child
  gap.push({0, 1}, 1.0f);
  gap.push({2, 3}, 1.0f);
  CHECK(gap.parts().size() == 2);
  stack.clear();
  for (Index granule = 3; granule < 6; ++granule) stack.push({granule, granule + 1}, 1.0f);
  CHECK_THROWS_AS(stack.finish(), Error);           // one part, but not the root
  CHECK(stack.finish(GranuleRange{3, 6}) == 3.0f);  // the part of that node
  stack.push_present(4, 1.0f);
  CHECK_THROWS_AS(stack.push_present(4, 1.0f), Error);
  CHECK_THROWS_AS(stack.push_present(3, 1.0f), Error);
  CHECK_THROWS_AS(stack.push_present(6, 1.0f), Error);
}

}  // namespace
