// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstddef>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>

// The small matrix products of attention, a block of queries against a block of keys, for the bodies of kernels.
namespace moepar::cpu::detail {

//! Which terms of row r's sum there are: all steps, those up to r, or those from r on (the block on the diagonal).
enum class Steps { all, up_to_row, from_row };

//! Element (r, k) at data[r * row + k * step], so that a matrix or its transpose can be the left factor.
template <class Element> struct LeftFactor {
  const Element* data;
  Index row, step;
};
template <class Element> struct RightFactor {
  const Element* data;
  Index row;  //!< elements between rows
};

//! product[r, n] (+)= sum over steps k of left[r, k] right[k, n]: one running sum an element, k ascending, an fma a
//! step, from +0 or, with `onto`, from what is there. A sum's bits do not depend on how rows and columns are cut.
template <class Element> struct BlockProduct {
  LeftFactor<Element> left;
  RightFactor<Element> right;
  Element* product;
  Index product_row, rows, columns, steps;
  bool onto;
  Steps which = Steps::all;

  //! Steps [first, last) of Rows x Columns sums, which stay in registers.
  template <std::size_t Rows, std::size_t Columns>
  [[gnu::always_inline]] static inline void add_steps(Element (&sum)[Rows][Columns], const Element* a, Index a_row,
                                                      Index a_step, const Element* b, Index b_row, Index first,
                                                      Index last) {
    for (Index k = first; k < last; ++k) {
      const Element* const row = b + k * b_row;
      for (Index r = 0; r < Index{Rows}; ++r) {
        const Element factor = a[r * a_row + k * a_step];
        for (Index n = 0; n < Index{Columns}; ++n) sum[r][n] = std::fma(factor, row[n], sum[r][n]);
      }
    }
  }

  //! Steps [first, last) of the tile whose corner is (row, column), on top of what is there.
  template <std::size_t Rows, std::size_t Columns>
  [[gnu::always_inline]] inline void tile(Index row, Index column, Index first, Index last, bool load) const {
    Element sum[Rows][Columns];
    Element* const to = product + row * product_row + column;
    for (Index r = 0; r < Index{Rows}; ++r)
      for (Index n = 0; n < Index{Columns}; ++n) sum[r][n] = load ? to[r * product_row + n] : Element{0};
    add_steps<Rows, Columns>(sum, left.data + row * left.row, left.row, left.step, right.data + column, right.row,
                             first, last);
    for (Index r = 0; r < Index{Rows}; ++r)
      for (Index n = 0; n < Index{Columns}; ++n) to[r * product_row + n] = sum[r][n];
  }

  //! All columns of rows [row, row + Rows), steps [first, last).
  template <std::size_t Rows>
  [[gnu::always_inline]] inline void row_tiles(Index row, Index first, Index last, bool load) const {
    Index column = 0;
    for (; column + 32 <= columns; column += 32) tile<Rows, 32>(row, column, first, last, load);
    for (; column + 8 <= columns; column += 8) tile<Rows, 8>(row, column, first, last, load);
    for (; column < columns; ++column) tile<Rows, 1>(row, column, first, last, load);
  }

  //! A call of its own for each block: inlined into every product of attention, this would take g++ ten seconds.
  void run() const { dispatch<Body>(*this); }

 private:
  struct Body {
    [[gnu::always_inline]] static inline void run(const BlockProduct& block) { block.run_here(); }
  };

  [[gnu::always_inline]] inline void run_here() const {
    constexpr std::size_t tall = 4;
    Index row = 0;
    for (; row + Index{tall} <= rows; row += Index{tall}) {
      if (which == Steps::all) {
        row_tiles<tall>(row, 0, steps, onto);
      } else if (which == Steps::up_to_row) {  // four rows to the first's last step, then each row to its own
        row_tiles<tall>(row, 0, row + 1, onto);
        for (Index r = 1; r < Index{tall}; ++r) row_tiles<1>(row + r, row + 1, row + r + 1, true);
      } else {  // each row from its own first step, then four rows from the last's
        for (Index r = 0; r < Index{tall}; ++r) row_tiles<1>(row + r, row + r, row + Index{tall} - 1, onto);
        row_tiles<tall>(row, row + Index{tall} - 1, steps, true);
      }
    }
    for (; row < rows; ++row)
      row_tiles<1>(row, which == Steps::from_row ? row : 0, which == Steps::up_to_row ? row + 1 : steps, onto);
  }
};

}  // namespace moepar::cpu::detail
