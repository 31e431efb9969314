// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cmath>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/spread.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/row_groups.hpp>

namespace moepar::cpu {

//! Queries and keys that attention takes at a time, counted from the start of the sequence: part of the numerics.
inline constexpr Index attention_block = 64;

//! What a worker's scratch has room for.
inline constexpr Index attention_head_size_limit = 512;

namespace detail {

//! One head's columns of the rows of one sequence.
template <class Element> struct HeadOfSequence {
  Element* data;
  Index stride;
  [[nodiscard]] constexpr Element* row(Index index) const { return data + index * stride; }
};

template <class Element> HeadOfSequence<Element> head_of(Matrix<Element> matrix, Index sequence, Index column) {
  return {matrix.row(sequence) + column, matrix.columns};
}

template <class Element> Element score_scale(Index head_size) {
  return static_cast<Element>(1.0 / std::sqrt(static_cast<double>(head_size)));
}

struct QueryBlock {
  Index sequence = 0, first = 0, queries = 0;
};

[[nodiscard]] inline Index query_blocks(const RowGroups& sequences) {
  Index blocks = 0;
  for (Index i = 0; i < sequences.granules; ++i)
    blocks += moepar::detail::ceil_div(sequences.begins[i + 1] - sequences.begins[i], attention_block);
  return blocks;
}

[[nodiscard]] inline QueryBlock query_block(const RowGroups& sequences, Index block) {
  for (Index i = 0;; ++i) {
    const Index rows = sequences.begins[i + 1] - sequences.begins[i];
    const Index blocks = moepar::detail::ceil_div(rows, attention_block);
    if (block < blocks) {
      const Index first = block * attention_block;
      return {i, first, std::min(attention_block, rows - first)};
    }
    block -= blocks;
  }
}

//! What an item costs in elements of an elementwise kernel, roughly.
template <class Element> Index attention_cost(Matrix<Element> q, Index items) {
  return items == 0 ? 0 : q.size() / items * 8;
}

//! turned[d, i] = scale * rows[i, d], zeros for the queries that a block lacks: queries side by side.
template <class Element>
[[gnu::always_inline]] inline void turn_block(const Element* rows, Index stride, Index queries, Index size,
                                              Element scale, Element* turned) {
  for (Index d = 0; d < size; ++d) {
    Element* const to = turned + d * attention_block;
    for (Index i = 0; i < queries; ++i) to[i] = scale * rows[i * stride + d];
    for (Index i = queries; i < attention_block; ++i) to[i] = 0;
  }
}

}  // namespace detail
}  // namespace moepar::cpu
