// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <moepar/core/index.hpp>

namespace moepar {

//! Parameters are cut between whole blocks of this many consecutive elements of their global flat index, so that a sum
//! over a block has one order on every layout.
inline constexpr Index shard_block = 1024;

//! Half-open range.
struct Range {
  Index begin = 0;
  Index end = 0;
  [[nodiscard]] constexpr Index size() const { return end - begin; }
  friend constexpr bool operator==(const Range&, const Range&) = default;
};

//! Part `position` of `parts` of 0..count-1 in order: sizes differ by one at most, larger parts first.
constexpr Range part_of(Index count, Index parts, Index position) {
  const Index small = count / parts, larger = count % parts;
  const Index begin = position * small + std::min(position, larger);
  return {begin, begin + small + (position < larger ? 1 : 0)};
}

//! Blocks of one tensor; its last one may be short.
constexpr Index block_count(Index elements) { return detail::ceil_div(elements, shard_block); }

//! Blocks that position `rank` of a shard group holds of `copies` tensors of `elements` each, laid one after another.
//! No block holds elements of two tensors.
constexpr Range shard_blocks(Index copies, Index elements, Index shard_degree, Index rank) {
  return part_of(copies * block_count(elements), shard_degree, rank);
}

//! Elements in blocks 0..block-1 of such a stack.
constexpr Index elements_before(Index elements, Index block) {
  const Index blocks = block_count(elements);
  if (blocks == 0) return 0;
  return block / blocks * elements + std::min(block % blocks * shard_block, elements);
}

//! Elements that position `rank` of a shard group holds. Position 0 holds the most.
constexpr Index shard_elements(Index copies, Index elements, Index shard_degree, Index rank) {
  const Range blocks = shard_blocks(copies, elements, shard_degree, rank);
  return elements_before(elements, blocks.end) - elements_before(elements, blocks.begin);
}

}  // namespace moepar
