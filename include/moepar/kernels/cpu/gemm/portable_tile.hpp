// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/gemm/tile_work.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>

namespace moepar::cpu::detail {

//! The tile without intrinsics, for any element type and machine.
template <class Scalar> struct PortableTile {
  using Element = Scalar;
  static constexpr Index rows = 4;
  static constexpr Index columns = 16;

  template <class Left> struct Body {
    [[gnu::always_inline]] static inline void run(const TileWork<Element>* given) {
      const TileWork<Element> work = *given;
      Element sum[rows][columns] = {};
      if (work.start != nullptr) {
        for (Index r = 0; r < work.rows; ++r)
          for (Index c = 0; c < work.columns; ++c) sum[r][c] = work.start[r * work.start_stride + c];
      }
      for (Index step = 0; step < work.steps; ++step) {
        const Element* right = work.right + step * columns;
        for (Index r = 0; r < work.rows; ++r) {
          const Element left = work.left[r * Left::template row<rows> + step * Left::template step<rows>];
          for (Index c = 0; c < columns; ++c) sum[r][c] = std::fma(left, right[c], sum[r][c]);
        }
      }
      add(sum, work, work.recent_top, work.recent);
      add(sum, work, work.older_top, work.older);
      for (Index r = 0; r < work.rows; ++r)
        for (Index c = 0; c < work.columns; ++c) work.result[r * work.result_stride + c] = sum[r][c];
    }

    [[gnu::always_inline]] static inline void add(Element (&sum)[rows][columns], const TileWork<Element>& work,
                                                  const Element* top, Index count) {
      for (; count > 0; --count, top -= rows * columns)
        for (Index r = 0; r < work.rows; ++r)
          for (Index c = 0; c < columns; ++c) sum[r][c] = top[r * columns + c] + sum[r][c];
    }
  };

  template <class Left> static void run(const TileWork<Element>& work) { dispatch<Body<Left>>(&work); }

  //! panel[step * columns + c] = source[c * stride + step] for c < count, 0 for the rest of the panel
  static void pack_transposed(Index count, Index steps, const Element* source, Index stride, Element* panel) {
    for (Index step = 0; step < steps; ++step, panel += columns) {
      for (Index c = 0; c < count; ++c) panel[c] = source[c * stride + step];
      for (Index c = count; c < columns; ++c) panel[c] = 0;
    }
  }
};

}  // namespace moepar::cpu::detail
