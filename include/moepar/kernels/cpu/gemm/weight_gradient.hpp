// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/gemm/granule_walk.hpp>
#include <moepar/kernels/cpu/gemm/packing.hpp>
#include <moepar/kernels/cpu/gemm/tile_work.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/gradient_parts.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/row_groups.hpp>

namespace moepar::cpu::detail {

//! gradient_g[n, k] = the tree over granules of sums over rows t of output_gradient[t, n] input[t, k]. An item is a
//! block of the gradient of one group. It packs a block of rows of both operands at a time and lets every tile go
//! through these rows; the tile's sums stay in registers, and its stack in the first-level cache. Only what is left of
//! the stack at the end of a block of rows is kept for each tile.
template <class Tile> class WeightGradient {
  using Element = typename Tile::Element;
  static constexpr Index block_rows = 256;
  static constexpr Index most_outputs = 96;   // rows of the gradient that an item computes
  static constexpr Index most_columns = 256;  // and columns
  static constexpr Index least_columns = 64;
  static constexpr Index line = 64 / static_cast<Index>(sizeof(Element));
  static constexpr Index tile_size = Tile::rows * Tile::columns;
  static constexpr Index left_size = block_rows * Tile::rows + line;
  static constexpr Index right_size = block_rows * Tile::columns + line;
  static constexpr Index steps_size = 8192;  // elements, for the walk's steps
  static constexpr Index packed_size =
      ceil_div(most_outputs, Tile::rows) * left_size + most_columns / Tile::columns * right_size + steps_size;
  static constexpr Index scratch_size = Workers::scratch_bytes / static_cast<Index>(sizeof(Element));
  static_assert(steps_size * static_cast<Index>(sizeof(Element)) >= block_rows * static_cast<Index>(sizeof(LeafStep)));
  static_assert(left_size % line == 0 && right_size % line == 0 && tile_size % line == 0);
  // the deepest stack there can be still fits
  static_assert(packed_size + (GranuleTree::max_parts + 1) * (tile_size + Tile::rows * most_columns) <= scratch_size);

 public:
  WeightGradient(Workers& workers, const RowGroups& groups, ConstMatrix<Element> output_gradient,
                 ConstMatrix<Element> input, const GradientParts<Element>& gradient)
      : workers_{workers},
        groups_{groups},
        left_{output_gradient},
        right_{input},
        gradient_{gradient},
        most_sums_{GranuleWalk::most_sums(groups)} {
    const Index room = scratch_size - packed_size - most_sums_ * tile_size;
    const Index fitting = room / (most_sums_ * most_columns) / Tile::rows * Tile::rows;
    // a multiple of the tile, such that the blocks are equal
    const Index most = std::min(most_outputs / Tile::rows * Tile::rows, fitting), all = output_gradient.columns;
    const Index equal = ceil_div(all, ceil_div(all, most));
    outputs_ = ceil_div(equal, Tile::rows) * Tile::rows;
    const Index wanted = workers.count() == 1 ? 1 : 4 * workers.count();
    while (columns_ > least_columns && groups.groups * output_blocks() * column_blocks() < wanted) columns_ /= 2;
  }

  void run() const {
    workers_.parallel(groups_.groups * output_blocks() * column_blocks(), [this](Index item, Index worker) {
      const Index column = item % column_blocks() * columns_;
      const Index output = item / column_blocks() % output_blocks() * outputs_;
      compute(item / column_blocks() / output_blocks(), output, std::min(outputs_, left_.columns - output), column,
              std::min(columns_, right_.columns - column), worker);
    });
  }

 private:
  [[nodiscard]] Index output_blocks() const { return ceil_div(left_.columns, outputs_); }
  [[nodiscard]] Index column_blocks() const { return ceil_div(right_.columns, columns_); }

  //! Where the results of one tile go.
  struct Target {
    Element* gradient;  // of part 0
    Element* older;     // the tile's stack
    Element* recent;    // the stack that all tiles share
    Index rows, columns;
  };

  void compute(Index group, Index output, Index outputs, Index column, Index columns, Index worker) const {
    auto* scratch = reinterpret_cast<Element*>(workers_.scratch(worker));
    auto* steps = reinterpret_cast<LeafStep*>(scratch);
    Element* left = scratch + steps_size;
    Element* right = left + ceil_div(most_outputs, Tile::rows) * left_size;
    Element* recent = right + most_columns / Tile::columns * right_size;
    Element* older = recent + most_sums_ * tile_size;

    const Index end = groups_.end_of(group);
    GranuleWalk walk{groups_, group};
    Index row = groups_.begin_of(group);
    do {
      const Index stop = std::min(end, row + block_rows), sums = walk.sums(), count = walk.advance(stop, steps);
      PackColumns<Element, Tile::rows>::run_all(stop - row, outputs, left_.row(row) + output, left_.columns, left,
                                                left_size);
      PackColumns<Element, Tile::columns>::run_all(stop - row, columns, right_.row(row) + column, right_.columns, right,
                                                   right_size);
      Element* stack = older;
      for (Index n = 0; n < outputs; n += Tile::rows) {
        for (Index k = 0; k < columns; k += Tile::columns, stack += most_sums_ * tile_size) {
          const Target target{gradient_.data + (group * left_.columns + output + n) * gradient_.columns + column + k,
                              stack, recent, std::min(Tile::rows, outputs - n), std::min(Tile::columns, columns - k)};
          run_steps(steps, count, sums, stop == end ? &walk : nullptr, left + n / Tile::rows * left_size,
                    right + k / Tile::columns * right_size, target);
        }
      }
      row = stop;
    } while (row < end);
  }

  //! One tile's way through a block of rows; `finished` is the walk if it was the last block.
  void run_steps(const LeafStep* steps, Index count, Index older, const GranuleWalk* finished, const Element* left,
                 const Element* right, const Target& target) const {
    const Index newest_part = finished != nullptr ? last_present(*finished) : 0;
    const Element* aside = target.older + older * tile_size;
    if (finished != nullptr && count > 0)
      prefetch_result(target.gradient + newest_part * gradient_.stride, gradient_.columns, target.rows, target.columns);
    Index recent = 0;
    for (Index i = 0; i < count; ++i) {
      const LeafStep& step = steps[i];
      if (i > 0) ++recent;
      TileWork<Element> work;
      work.rows = target.rows;
      work.columns = Tile::columns;  // tiles on a stack are whole
      work.steps = step.rows;
      work.left = left;
      work.right = right;
      work.start = step.resumes ? aside : nullptr;
      work.start_stride = Tile::columns;
      work.recent = step.recent;
      work.older = step.older;
      work.recent_top = target.recent + (recent - 1) * tile_size;
      work.older_top = target.older + (older - 1) * tile_size;
      recent -= step.recent;
      older -= step.older;
      work.result_stride = Tile::columns;
      if (i + 1 < count) {
        work.result = target.recent + recent * tile_size;
      } else if (finished == nullptr) {
        work.result = target.older + (older + recent) * tile_size;
      } else {
        work.result = target.gradient + newest_part * gradient_.stride;
        work.result_stride = gradient_.columns;
        work.columns = target.columns;
      }
      Tile::template run<ByStep>(work);
      left += step.rows * Tile::rows;
      right += step.rows * Tile::columns;
    }
    if (finished != nullptr)
      write_parts(*finished, newest_part, older, target);
    else
      std::copy(target.recent, target.recent + recent * tile_size, target.older + older * tile_size);
  }

  //! -1 if no part has rows
  [[nodiscard]] Index last_present(const GranuleWalk& walk) const {
    Index part = groups_.parts - 1;
    while (part >= 0 && !walk.present(part)) --part;
    return part;
  }

  //! All parts but the newest one that has rows, which is already there.
  void write_parts(const GranuleWalk& walk, Index newest_part, Index older, const Target& target) const {
    Index sum = 0;
    for (Index part = 0; part < groups_.parts; ++part) {
      if (part == newest_part) continue;
      const bool present = walk.present(part);
      const Element* from = nullptr;
      if (present) {
        from = sum < older ? target.older + sum * tile_size : target.recent + (sum - older) * tile_size;
        ++sum;
      }
      for (Index r = 0; r < target.rows; ++r) {
        Element* to = target.gradient + part * gradient_.stride + r * gradient_.columns;
        if (present)
          std::copy(from + r * Tile::columns, from + r * Tile::columns + target.columns, to);
        else
          std::fill(to, to + target.columns, Element{0});
      }
    }
  }

  Workers& workers_;
  const RowGroups& groups_;
  ConstMatrix<Element> left_, right_;
  GradientParts<Element> gradient_;
  Index most_sums_;
  Index outputs_ = 0;             // rows of the gradient that an item computes
  Index columns_ = most_columns;  // and columns
};

}  // namespace moepar::cpu::detail
