// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <concepts>
#include <cstddef>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/part_stack.hpp>
#include <span>
#include <string>
#include <vector>

namespace moepar {

//! Adds elements [begin, begin + count) of `parts` by `tree`: pushed in granule order, block by block, so that the sums
//! of a block stay in cache. Writes one sum a part that is left (its granules and count elements at its value) and
//! returns their number. parts: of any order; each value points to at least begin + count elements. Throws Error when
//! parts overlap or are no nodes (PartStack), or when `sums` has too few entries.
template <std::floating_point T>
Index sum_parts(const GranuleTree& tree, std::vector<Part<const T*>>& parts, Index begin, Index count,
                std::span<Part<T*>> sums) {
  constexpr Index block = 1024;
  struct AddBlock {
    Index elements;
    void operator()(T* left, const T* right) const {
      for (Index i = 0; i < elements; ++i) left[i] += right[i];
    }
  };
  std::sort(parts.begin(), parts.end(),
            [](const auto& a, const auto& b) { return a.granules.first < b.granules.first; });
  const Index rows = std::min(GranuleTree::max_parts, static_cast<Index>(parts.size()));
  std::vector<T> scratch(static_cast<std::size_t>(rows * block));  // row i: the part at place i of the stack
  Index written = 0;
  // Once even for nothing, so that an empty shard learns its granules and bad parts are found on every rank.
  for (Index at = 0; at == 0 || at < count; at += block) {
    const Index elements = std::min(block, count - at);
    PartStack<T*, AddBlock> stack{tree, AddBlock{elements}};
    for (const auto& part : parts) {
      T* row = scratch.data() + static_cast<Index>(stack.parts().size()) * block;
      std::copy_n(part.value + (elements > 0 ? begin + at : 0), elements, row);
      stack.push(part.granules, row);
    }
    written = static_cast<Index>(stack.parts().size());
    if (written > static_cast<Index>(sums.size()))
      throw Error{"moepar: the sum leaves " + std::to_string(written) + " parts, there is room for " +
                  std::to_string(sums.size()) + ". Fix: give room for cover_size(tree, granules of the group)."};
    for (Index i = 0; i < written; ++i) {
      const auto& part = stack.parts()[static_cast<std::size_t>(i)];
      auto& sum = sums[static_cast<std::size_t>(i)];
      sum.granules = part.granules;
      std::copy_n(part.value, elements, sum.value + at);
    }
  }
  return written;
}

}  // namespace moepar
