// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/part_stack.hpp>
#include <span>
#include <vector>

namespace moepar {

namespace detail {
//! Stands for a sum when only the ranges matter.
struct NoSum {
  constexpr void operator()(char&, char) const {}
};
}  // namespace detail

//! The schedule by which the holder of some granules adds its leaves: after granule i of its own, ascending, it adds
//! the two newest sums merges[i] times; `parts` are the ranges of the sums that this leaves.
struct GranuleTable {
  std::vector<std::uint8_t> merges{};
  std::vector<GranuleRange> parts{};
  Index most_waiting = 0;  //!< sums on the stack at any time

  [[nodiscard]] constexpr Index granules() const { return static_cast<Index>(merges.size()); }
};

//! runs: ranges of granules, ascending, that do not overlap; they may have gaps between them. Throws Error otherwise.
constexpr GranuleTable granule_table(const GranuleTree& tree, std::span<const GranuleRange> runs) {
  GranuleTable table;
  Index merges = 0;
  PartStack<char, detail::CountMerges> stack{tree, {&merges}};
  for (const GranuleRange& run : runs) {
    for (Index granule = run.first; granule < run.last; ++granule) {
      merges = 0;
      stack.push({granule, granule + 1}, 0);
      table.merges.push_back(static_cast<std::uint8_t>(merges));
      table.most_waiting = std::max(table.most_waiting, static_cast<Index>(stack.parts().size()) + merges);
    }
  }
  for (const auto& part : stack.parts()) table.parts.push_back(part.granules);
  return table;
}

//! Only the `parts` of the table, for the runs of many holders together: in steps of whole nodes. runs: in any order,
//! not overlapping.
constexpr std::vector<GranuleRange> parts_of_runs(const GranuleTree& tree, std::vector<GranuleRange> runs) {
  std::sort(runs.begin(), runs.end(), [](const auto& a, const auto& b) { return a.first < b.first; });
  PartStack<char, detail::NoSum> stack{tree};
  for (std::size_t i = 0; i < runs.size();) {
    GranuleRange joined = runs[i++];
    while (i < runs.size() && runs[i].first == joined.last) joined.last = runs[i++].last;
    for_each_cover_node(tree, joined, [&](GranuleRange node) { stack.push(node, 0); });
  }
  std::vector<GranuleRange> parts;
  for (const auto& part : stack.parts()) parts.push_back(part.granules);
  return parts;
}

}  // namespace moepar
