// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstring>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/gemm/packing.hpp>
#include <moepar/kernels/cpu/gemm/tile_work.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/row_groups.hpp>

namespace moepar::cpu::detail {

//! output[t, c] = sum over s of left[t, s] w(s, c), where w(s, c) is weight_g[c, s] (Transposed) or weight_g[s, c] and
//! g is the group of row t. An item is a block of columns of some rows of one group. It packs the weights for its
//! columns a few hundred steps at a time, so that they stay in the second-level cache, and goes over its rows; between
//! two such blocks of steps the sums wait in the output, which changes no bit.
template <class Tile, bool Transposed> class RowProduct {
  using Element = typename Tile::Element;
  static constexpr Index most_steps = ByRow::most_steps;
  static constexpr Index most_columns = 256;
  static constexpr Index least_columns = 64;
  static constexpr Index least_rows = 192;  // packing a weight costs as much as 5 rows or so
  static constexpr Index line = 64 / static_cast<Index>(sizeof(Element));
  static constexpr Index left_size = Tile::rows * ByRow::row<0>;
  static constexpr Index panel_size = most_steps * Tile::columns + line;  // panels do not share cache sets
  static_assert((left_size + most_columns / Tile::columns * panel_size) * static_cast<Index>(sizeof(Element)) <=
                Workers::scratch_bytes);
  static_assert(left_size % line == 0 && panel_size % line == 0);

 public:
  RowProduct(Workers& workers, const RowGroups& groups, ConstMatrix<Element> left, ConstMatrix<Element> weight,
             Matrix<Element> output, bool onto)
      : workers_{workers}, groups_{groups}, left_{left}, weight_{weight}, output_{output}, onto_{onto} {
    const Index wanted = workers.count() == 1 ? 1 : 4 * workers.count(), rows = groups.rows();
    while (columns_ > least_columns && blocks() * ceil_div(rows, least_rows) < wanted) columns_ /= 2;
    rows_ = std::max(least_rows, ceil_div(rows * blocks(), wanted));
  }

  void run() const {
    Index items = 0;
    for (Index group = 0; group < groups_.groups; ++group) items += chunks(group) * blocks();
    workers_.parallel(items, [this](Index item, Index worker) {
      Index group = 0;
      for (; item >= chunks(group) * blocks(); ++group) item -= chunks(group) * blocks();
      const Index begin = groups_.begin_of(group), rows = groups_.end_of(group) - begin;
      const Index chunk = item / blocks(), column = item % blocks() * columns_;
      compute(group, begin + rows * chunk / chunks(group), begin + rows * (chunk + 1) / chunks(group), column,
              std::min(columns_, output_.columns - column), worker);
    });
  }

 private:
  [[nodiscard]] Index blocks() const { return ceil_div(output_.columns, columns_); }
  [[nodiscard]] Index chunks(Index group) const {
    return ceil_div(groups_.end_of(group) - groups_.begin_of(group), rows_);
  }

  void compute(Index group, Index begin, Index end, Index column, Index columns, Index worker) const {
    auto* left = reinterpret_cast<Element*>(workers_.scratch(worker));
    Element* panels = left + left_size;
    const Index rows = end - begin, tiles = ceil_div(rows, Tile::rows);
    for (Index step = 0; step < left_.columns; step += most_steps) {
      const Index steps = std::min(most_steps, left_.columns - step);
      pack_weight(group, step, steps, column, columns, panels);
      for (Index tile = 0; tile < tiles; ++tile) {
        const Index first = begin + rows * tile / tiles;
        TileWork<Element> work;
        work.rows = begin + rows * (tile + 1) / tiles - first;
        work.steps = steps;
        work.left = left;
        work.start_stride = work.result_stride = output_.columns;
        for (Index r = 0; r < work.rows; ++r)
          std::memcpy(left + r * ByRow::row<0>, left_.row(first + r) + step,
                      sizeof(Element) * static_cast<std::size_t>(steps));
        for (Index c = 0; c < columns; c += Tile::columns) {
          work.columns = std::min(Tile::columns, columns - c);
          work.right = panels + c / Tile::columns * panel_size;
          work.result = output_.row(first) + column + c;
          work.start = step > 0 || onto_ ? work.result : nullptr;
          prefetch_result(work.result, work.result_stride, work.rows, work.columns);
          Tile::template run<ByRow>(work);
        }
      }
    }
  }

  void pack_weight(Index group, Index step, Index steps, Index column, Index columns, Element* panels) const {
    if constexpr (Transposed) {
      const Element* source = weight_.row(group * output_.columns + column) + step;
      for (Index c = 0; c < columns; c += Tile::columns, panels += panel_size)
        Tile::pack_transposed(std::min(Tile::columns, columns - c), steps, source + c * weight_.columns,
                              weight_.columns, panels);
    } else {
      PackColumns<Element, Tile::columns>::run_all(steps, columns, weight_.row(group * left_.columns + step) + column,
                                                   weight_.columns, panels, panel_size);
    }
  }

  Workers& workers_;
  const RowGroups& groups_;
  ConstMatrix<Element> left_, weight_;
  Matrix<Element> output_;
  bool onto_;
  Index columns_ = most_columns;  // of an item
  Index rows_ = least_rows;       // of an item, at most
};

}  // namespace moepar::cpu::detail
