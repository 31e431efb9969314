// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/kernels/cpu/spread.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/gradient_parts.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/row_groups.hpp>
#include <span>
#include <utility>

namespace moepar::cpu {
namespace detail {

struct EmbedBody {
  template <class Element>
  [[gnu::always_inline]] static inline void run(const std::int32_t* ids, Matrix<const Element> weight,
                                                Matrix<Element> out) {
    for (Index t = 0; t < out.rows; ++t)
      for (Index i = 0; i < out.columns; ++i) out.row(t)[i] = weight.row(ids[t])[i];
  }
};

//! Columns of a block of the gradient that are summed at a time, so that the stack of sums fits into the scratch.
inline constexpr Index embedding_columns = 1024;

//! The sums of one row of the vocabulary over granules, of which few have any: an absent sum is not stored, and absent
//! + x = x. Sums are joined at the same places as if every granule had one.
template <class Element> struct PresentStack {
  static constexpr Index capacity = GranuleTree::max_parts + 1;
  Element* sum[capacity];  // those above the top are free
  bool present[capacity];
  Index height = 0;

  [[gnu::always_inline]] inline void push(bool is_present, std::uint8_t merges, Index count) {
    present[height] = is_present;
    for (; merges > 0; --merges) {
      --height;
      Element *left = sum[height], *right = sum[height + 1];
      if (present[height] && present[height + 1])
        for (Index i = 0; i < count; ++i) left[i] += right[i];
      else if (present[height + 1])
        std::swap(sum[height], sum[height + 1]);
      present[height] |= present[height + 1];
    }
    ++height;
  }
};

struct EmbeddingGradientBody {
  //! positions[0..count): where the id occurs, ascending; writes columns [first, last) of row `id` of every part.
  template <class Element>
  [[gnu::always_inline]] static inline void run(RowGroups rows, Matrix<const Element> dy, const Index* positions,
                                                Index count, Index id, Index first, Index last,
                                                GradientParts<Element> gradient, Element* scratch) {
    const Index columns = last - first;
    PresentStack<Element> stack;
    if (count > 0) {
      for (Index i = 0; i < stack.capacity; ++i) stack.sum[i] = scratch + i * embedding_columns;
      const Index* const end = positions + count;
      for (Index granule = 0; granule < rows.granules; ++granule) {
        const Index granule_end = rows.begins[granule + 1];
        const bool present = positions < end && *positions < granule_end;
        if (present) {
          Element* leaf = stack.sum[stack.height];
          for (Index i = 0; i < columns; ++i) leaf[i] = 0;
          for (; positions < end && *positions < granule_end; ++positions) {
            const Element* row = dy.row(*positions) + first;
            for (Index i = 0; i < columns; ++i) leaf[i] += row[i];
          }
        }
        stack.push(present, rows.merges[granule], columns);
      }
    }
    for (Index part = 0; part < gradient.parts; ++part) {
      Element* to = gradient.part(part).row(id) + first;
      if (count > 0 && stack.present[part])
        for (Index i = 0; i < columns; ++i) to[i] = stack.sum[part][i];
      else
        for (Index i = 0; i < columns; ++i) to[i] = 0;
    }
  }
};

//! Sorts positions by id, ascending within an id, and returns where the positions are; those of `id` end at
//! ends[id] and begin at the end of the id before.
inline const Index* sort_by_id(std::span<const std::int32_t> ids, Index vocabulary, Index* ends) {
  Index* positions = ends + vocabulary + 1;
  std::fill(ends, positions, Index{0});
  for (const std::int32_t id : ids) ++ends[id + 1];
  for (Index id = 0; id < vocabulary; ++id) ends[id + 1] += ends[id];
  for (std::size_t t = 0; t < ids.size(); ++t) positions[ends[ids[t]]++] = static_cast<Index>(t);
  return positions;
}

}  // namespace detail

//! out[t] = weight[ids[t]]. weight: V x H, every id in 0..V-1; out: ids.size() x H.
template <class Element>
void embed(Workers& workers, std::span<const std::int32_t> ids, ConstMatrix<Element> weight, Matrix<Element> out) {
  detail::spread(workers, out.rows, out.columns, [&](Index first, Index last, Index) {
    dispatch<detail::EmbedBody>(ids.data() + first, weight, Matrix<Element>{out.row(first), last - first, out.columns});
  });
}

//! The gradient of embed: parts of V x H, every element written. `rows` has one group; dy: ids.size() x H; scratch: at
//! least V + 1 + ids.size().
template <class Element>
void embedding_gradient(Workers& workers, const RowGroups& rows, std::span<const std::int32_t> ids,
                        ConstMatrix<Element> dy, GradientParts<Element> gradient, std::span<Index> scratch) {
  const Index* ends = scratch.data();
  const Index* positions = detail::sort_by_id(ids, gradient.rows, scratch.data());
  const Index blocks = moepar::detail::ceil_div(gradient.columns, detail::embedding_columns);
  detail::spread(workers, gradient.rows * blocks, std::min(gradient.columns, detail::embedding_columns),
                 [&](Index item, Index last_item, Index worker) {
                   for (; item < last_item; ++item) {
                     const Index id = item / blocks, first = item % blocks * detail::embedding_columns;
                     const Index begin = id == 0 ? 0 : ends[id - 1];
                     dispatch<detail::EmbeddingGradientBody>(
                         rows, dy, positions + begin, ends[id] - begin, id, first,
                         std::min(gradient.columns, first + detail::embedding_columns), gradient,
                         reinterpret_cast<Element*>(workers.scratch(worker)));
                   }
                 });
}

}  // namespace moepar::cpu
