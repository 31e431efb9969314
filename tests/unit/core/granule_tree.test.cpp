// SPDX-License-Identifier: Apache-2.0
#include <moepar/core/granule_tree.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <array>
#include <cstdint>
#include <string>
#include <vector>

namespace {

using moepar::cover_size;
using moepar::GranuleRange;
using moepar::GranuleTree;
using moepar::Index;

//! "((0 1) 2)": the tree as a person writes it.
std::string text_of(const GranuleTree& tree, Index first, Index length) {
  if (length == 1) return std::to_string(first);
  const Index left = tree.left(length);
  return std::string{"("} + text_of(tree, first, left) + ' ' + text_of(tree, first + left, length - left) + ')';
}
std::string text_of(const GranuleTree& tree) { return text_of(tree, 0, tree.granules()); }

std::string merges_of(const GranuleTree& tree) {
  std::vector<std::uint8_t> merges(static_cast<std::size_t>(tree.granules()));
  tree.merge_table({0, tree.granules()}, merges);
  std::string text;
  for (const std::uint8_t count : merges) {
    if (!text.empty()) text += ' ';
    text += std::to_string(count);
  }
  return text;
}

std::string cover_of(const GranuleTree& tree, GranuleRange range) {
  std::string text;
  moepar::for_each_cover_node(tree, range, [&](GranuleRange node) {
    if (!text.empty()) text += ", ";
    text += text_of(tree, node.first, node.count());
  });
  return text;
}

std::vector<GranuleTree> some_trees() {
  std::vector<GranuleTree> trees;
  for (Index granules = 1; granules <= 40; ++granules) trees.emplace_back(granules);
  trees.push_back({12, {3, 2, 2}});
  trees.push_back({24, {3, 2, 2, 2}});
  trees.push_back({24, {2, 6, 2}});
  trees.push_back({30, {5, 3, 2}});
  trees.push_back({37, {37}});
  return trees;
}

// The whole structure is usable in constant expressions.
static_assert(GranuleTree{6}.left(6) == 3 && GranuleTree{6}.left(3) == 2);
static_assert(GranuleTree{12, {3, 2, 2}}.left(12) == 8);
static_assert(GranuleTree{24} == GranuleTree{24, {2, 2, 2, 3}});
static_assert(GranuleTree{24} == GranuleTree{24, {1, 2, 2, 1, 2, 3}}, "a factor of 1 changes nothing");
static_assert(GranuleTree{1}.depth() == 0 && GranuleTree{1}.merges_after(0) == 0);
static_assert(GranuleTree{8}.depth() == 3 && GranuleTree{5}.depth() == 3 && GranuleTree{9, {9}}.depth() == 4);
static_assert(GranuleTree{8}.is_node({4, 8}) && !GranuleTree{8}.is_node({2, 6}));
static_assert(GranuleTree{6}.node({2, 4}) == GranuleRange{0, 6});
static_assert(GranuleTree{6}.siblings({0, 2}, {2, 3}) && !GranuleTree{6}.siblings({0, 2}, {3, 4}));
static_assert(cover_size(GranuleTree{6}, {2, 4}) == 2);
static_assert([] {
  std::array<std::uint8_t, 8> merges{};
  GranuleTree{8}.merge_table({0, 8}, merges);
  return merges == std::array<std::uint8_t, 8>{0, 1, 0, 2, 0, 1, 0, 3};
}());

TEST_CASE("the trees, as the specification prints them") {
  CHECK(text_of(GranuleTree{1}) == "0");
  CHECK(text_of(GranuleTree{2}) == "(0 1)");
  CHECK(text_of(GranuleTree{3}) == "((0 1) 2)");
  CHECK(text_of(GranuleTree{4}) == "((0 1) (2 3))");
  CHECK(text_of(GranuleTree{5}) == "(((0 1) (2 3)) 4)");
  CHECK(text_of(GranuleTree{6}) == "(((0 1) 2) ((3 4) 5))");
  CHECK(text_of(GranuleTree{7}) == "(((0 1) (2 3)) ((4 5) 6))");
  CHECK(text_of(GranuleTree{8}) == "(((0 1) (2 3)) ((4 5) (6 7)))");
  CHECK(text_of(GranuleTree{12}) == "((((0 1) 2) ((3 4) 5)) (((6 7) 8) ((9 10) 11)))");
  CHECK(text_of(GranuleTree{12, {3, 2, 2}}) == "((((0 1) (2 3)) ((4 5) (6 7))) ((8 9) (10 11)))");
}

TEST_CASE("the merge tables, as the specification prints them") {
  CHECK(merges_of(GranuleTree{8}) == "0 1 0 2 0 1 0 3");
  CHECK(merges_of(GranuleTree{6}) == "0 1 1 0 1 2");
  CHECK(merges_of(GranuleTree{12}) == "0 1 1 0 1 2 0 1 1 0 1 3");
}

TEST_CASE("covers, as the specification prints them") {
  const GranuleTree six{6}, eight{8};
  CHECK(cover_of(six, {0, 2}) == "(0 1)");
  CHECK(cover_of(six, {2, 4}) == "2, 3");
  CHECK(cover_of(six, {4, 6}) == "4, 5");
  CHECK(cover_of(eight, {0, 4}) == "((0 1) (2 3))");
  CHECK(cover_of(eight, {4, 8}) == "((4 5) (6 7))");
  CHECK(cover_of(eight, {1, 8}) == "1, (2 3), ((4 5) (6 7))");
}

TEST_CASE("the most parts that a holder sends, 24 granules") {
  const auto most = [](const GranuleTree& tree, Index world, Index expert_degree) {
    const Index held = tree.granules() / world * expert_degree;  // the owner of an expert, or (degree 1) a rank
    Index parts = 0;
    for (Index first = 0; first < tree.granules(); first += held)
      parts = std::max(parts, cover_size(tree, {first, first + held}));
    return parts;
  };
  struct Row {
    Index world, expert_degree, standard, odd_first;
  };
  const GranuleTree standard{24}, odd_first{24, {3, 2, 2, 2}};
  for (const Row row : {Row{2, 1, 1, 2},
                        {3, 1, 4, 1},
                        {4, 1, 1, 2},
                        {6, 1, 3, 1},
                        {6, 2, 4, 1},
                        {6, 3, 1, 2},
                        {6, 6, 1, 1},
                        {8, 1, 1, 2},
                        {12, 1, 2, 1},
                        {12, 2, 3, 1},
                        {12, 3, 1, 2},
                        {12, 4, 4, 1},
                        {12, 6, 1, 2}}) {
    CAPTURE(row.world);
    CAPTURE(row.expert_degree);
    CHECK(most(standard, row.world, row.expert_degree) == row.standard);
    CHECK(most(odd_first, row.world, row.expert_degree) == row.odd_first);
  }
}

TEST_CASE("laws of nodes, covers and merge tables, every range of many trees") {
  for (const GranuleTree& tree : some_trees()) {
    CAPTURE(text_of(tree));
    const Index count = tree.granules();
    std::vector<GranuleRange> nodes;  // by the definition
    const auto collect = [&](auto self, Index first, Index length) -> Index {
      nodes.push_back({first, first + length});
      if (length == 1) return 0;
      const Index left = tree.left(length);
      REQUIRE((left > 0 && left < length));
      REQUIRE(tree.siblings({first, first + left}, {first + left, first + length}));
      return 1 + std::max(self(self, first, left), self(self, first + left, length - left));
    };
    CHECK(collect(collect, 0, count) == tree.depth());
    CHECK(nodes.size() == static_cast<std::size_t>(2 * count - 1));

    for (Index first = 0; first < count; ++first)
      for (Index last = first + 1; last <= count; ++last) {
        const GranuleRange range{first, last};
        REQUIRE(tree.is_node(range) == (std::count(nodes.begin(), nodes.end(), range) == 1));
        GranuleRange smallest{0, count};
        for (const GranuleRange node : nodes)
          if (node.contains(range) && node.count() < smallest.count()) smallest = node;
        REQUIRE(tree.node(range) == smallest);

        Index at = first, parts = 0;
        moepar::for_each_cover_node(tree, range, [&](GranuleRange node) {
          REQUIRE(node.first == at);
          REQUIRE(tree.is_node(node));
          for (const GranuleRange other : nodes)  // no larger node of the range holds it
            REQUIRE((other == node || !other.contains(node) || !range.contains(other)));
          at = node.last;
          ++parts;
        });
        REQUIRE(at == last);
        REQUIRE(parts <= 2 * std::max<Index>(tree.depth(), 1));

        std::vector<std::uint8_t> merges(static_cast<std::size_t>(last - first));
        tree.merge_table(range, merges);
        Index height = 0;
        for (const std::uint8_t count_of_merges : merges) height += 1 - count_of_merges;
        REQUIRE(height == parts);
      }
  }
}

TEST_CASE("the largest and the deepest tree") {
  const GranuleTree largest{GranuleTree::max_granules};
  CHECK(largest.depth() == 40);
  CHECK(largest.merges_after(GranuleTree::max_granules - 1) == 40);
  const GranuleTree deepest{762939453125};  // 5^17
  CHECK(deepest.depth() == 51);
  CHECK(deepest.depth() <= GranuleTree::max_depth);
  CHECK(cover_size(deepest, {1, deepest.granules() - 1}) <= GranuleTree::max_parts);
  CHECK(GranuleTree{1099511627689}.levels() == 2);  // the largest prime below 2^40
}

TEST_CASE("wrong counts, factors and ranges are refused with their values") {
  using doctest::Contains;
  using moepar::Error;
  CHECK_THROWS_WITH_AS(GranuleTree{0}, Contains("granules is 0, it must be 1 to 2^40"), Error);
  CHECK_THROWS_WITH_AS(GranuleTree{-4}, Contains("granules is -4"), Error);
  CHECK_THROWS_AS(GranuleTree{GranuleTree::max_granules + 1}, Error);
  CHECK_THROWS_WITH_AS((GranuleTree{12, {2, 5}}), Contains("factors 2 x 5 do not multiply to 12"), Error);
  CHECK_THROWS_AS((GranuleTree{12, {2, 3}}), Error);
  CHECK_THROWS_AS((GranuleTree{12, {2, 2, 3, 2}}), Error);
  CHECK_THROWS_AS((GranuleTree{12, {-2, -6}}), Error);
  CHECK_THROWS_AS((GranuleTree{12, {0, 12}}), Error);
  const GranuleTree tree{6};
  CHECK_THROWS_WITH_AS(static_cast<void>(tree.node({2, 2})), Contains("[2, 2) are not a range within [0, 6)"), Error);
  CHECK_THROWS_AS(static_cast<void>(tree.node({-1, 2})), Error);
  CHECK_THROWS_AS(static_cast<void>(tree.node({4, 7})), Error);
  CHECK_THROWS_AS(static_cast<void>(tree.merges_after(6)), Error);
  CHECK_THROWS_AS(static_cast<void>(cover_size(tree, {3, 2})), Error);
  std::uint8_t merges[5];
  CHECK_THROWS_WITH_AS(tree.merge_table({0, 6}, merges), Contains("[0, 6) has room for 5"), Error);
}

}  // namespace
