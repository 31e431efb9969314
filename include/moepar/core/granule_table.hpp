// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/part_stack.hpp>
#include <span>
#include <vector>

namespace moepar {

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

}  // namespace moepar
