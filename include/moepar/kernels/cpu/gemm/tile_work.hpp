// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>

namespace moepar::cpu::detail {

using moepar::detail::ceil_div;

//! What one register tile computes, the same for all three products and all instruction sets:
//!   sum[r, c] = start[r, c], or +0 without a start
//!   for each step, ascending: sum[r, c] = fma(left[r, step], right[step, c], sum[r, c])
//!   `recent` times: sum = pop of the recent stack + sum; then `older` times the same from the older one
//!   result[r, c] = sum[r, c]
//! One accumulator an element, so neither the tile's size nor its neighbours change a bit. Both operands are packed:
//! left as the tile's template arguments say, right with the tile's whole width a step; columns beyond `columns` are
//! computed from whatever lies there and are not stored.
template <class Element> struct TileWork {
  Index rows = 0;     //!< 1 to the tile's rows
  Index columns = 0;  //!< 1 to the tile's columns
  Index steps = 0;    //!< may be 0
  const Element* left = nullptr;
  const Element* right = nullptr;
  const Element* start = nullptr;
  Index start_stride = 0;
  Index recent = 0;  //!< entries of stacks are tiles of their own, one behind the other, rows the tile's width apart
  Index older = 0;
  const Element* recent_top = nullptr;
  const Element* older_top = nullptr;
  Element* result = nullptr;
  Index result_stride = 0;
};

//! How a tile finds its left operand: left[r * row + step * step].
struct ByRow {  //!< rows of a matrix, copied; the stride is no power of two, so that rows do not share cache sets
  static constexpr Index most_steps = 512;
  template <Index> static constexpr Index row = most_steps + 16;
  template <Index> static constexpr Index step = 1;
};
struct ByStep {  //!< a tile's rows side by side, step after step
  template <Index> static constexpr Index row = 1;
  template <Index TileRows> static constexpr Index step = TileRows;
};

//! Asks for the memory that a tile will write, so that its stores do not wait for it.
template <class Element> void prefetch_result(const Element* result, Index stride, Index rows, Index columns) {
  constexpr Index line = 64 / static_cast<Index>(sizeof(Element));
  for (Index r = 0; r < rows; ++r)
    for (Index c = 0; c < columns; c += line) __builtin_prefetch(result + r * stride + c, 1);
}

}  // namespace moepar::cpu::detail
