// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <moepar/core/index.hpp>
#include <moepar/core/row_sum.hpp>
#include <moepar/kernels/cpu/elementwise.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/kernels/cpu/lanes.hpp>
#include <moepar/kernels/cpu/spread.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/matrix.hpp>
#include <span>
#include <type_traits>

// Moving rows by index: what dispatch and combine of a mixture of experts do on one rank. Index -1 is no row.
namespace moepar::cpu {
namespace detail {

struct GatherBody {
  template <class Element>
  [[gnu::always_inline]] static inline void run(Matrix<const Element> from, const Index* rows, const Element* weights,
                                                Matrix<Element> out) {
    for (Index i = 0; i < out.rows; ++i) {
      Element* to = out.row(i);
      const Element* row = rows[i] < 0 ? nullptr : from.row(rows[i]);
      if (row == nullptr)
        for (Index c = 0; c < out.columns; ++c) to[c] = 0;
      else if (weights == nullptr)
        for (Index c = 0; c < out.columns; ++c) to[c] = row[c];
      else
        for (Index c = 0; c < out.columns; ++c) to[c] = weights[i] * row[c];
    }
  }
};

//! out[t] = [out[t] +] sum over slots of [weight *] from[place]
struct CombineBody {
  template <class Element>
  [[gnu::always_inline]] static inline void part(Index count, Matrix<const Element> from, const Index* place,
                                                 const Element* weights, Index slots, bool onto, Index column,
                                                 Element* out) {
    Element sum[row_lanes];
    if (onto)
      for (Index i = 0; i < count; ++i) sum[i] = out[i];
    else
      for (Index i = 0; i < count; ++i) sum[i] = 0;
    for (Index slot = 0; slot < slots; ++slot) {
      if (place[slot] < 0) continue;
      const Element* row = from.row(place[slot]) + column;
      if (weights == nullptr)
        for (Index i = 0; i < count; ++i) sum[i] += row[i];
      else
        for (Index i = 0; i < count; ++i) sum[i] = std::fma(weights[slot], row[i], sum[i]);
    }
    for (Index i = 0; i < count; ++i) out[i] = sum[i];
  }
  template <class Element>
  [[gnu::always_inline]] static inline void run(Matrix<const Element> from, const Index* place, const Element* weights,
                                                Index slots, bool onto, Matrix<Element> out) {
    for (Index t = 0; t < out.rows; ++t) {
      const Element* weight = weights == nullptr ? nullptr : weights + t * slots;
      Index i = 0;
      for (; i + row_lanes <= out.columns; i += row_lanes)
        part(row_lanes, from, place + t * slots, weight, slots, onto, i, out.row(t) + i);
      part(out.columns - i, from, place + t * slots, weight, slots, onto, i, out.row(t) + i);
    }
  }
};

struct RowDotsBody {
  template <class Element>
  [[gnu::always_inline]] static inline void run(Matrix<const Element> a, const Index* a_rows, Matrix<const Element> b,
                                                const Index* b_rows, Index first, Index last, Element* out) {
    for (Index i = first; i < last; ++i) {
      const Index left = a_rows == nullptr ? i : a_rows[i], right = b_rows == nullptr ? i : b_rows[i];
      out[i] = left < 0 || right < 0 ? Element{0} : lane_dot(a.row(left), b.row(right), a.columns);
    }
  }
};

template <class Element>
void gather(Workers& workers, Matrix<const Element> from, std::span<const Index> rows, const Element* weights,
            Matrix<Element> out) {
  spread(workers, out.rows, out.columns, [&](Index first, Index last, Index) {
    dispatch<GatherBody>(from, rows.data() + first, weights == nullptr ? nullptr : weights + first,
                         Matrix<Element>{out.row(first), last - first, out.columns});
  });
}

template <class Element>
void combine(Workers& workers, Matrix<const Element> from, std::span<const Index> place, const Element* weights,
             Index slots, bool onto, Matrix<Element> out) {
  spread(workers, out.rows, out.columns * (slots + 1), [&](Index first, Index last, Index) {
    dispatch<CombineBody>(from, place.data() + first * slots, weights == nullptr ? nullptr : weights + first * slots,
                          slots, onto, Matrix<Element>{out.row(first), last - first, out.columns});
  });
}

}  // namespace detail

//! The elements of a span parameter whose type is deduced from another parameter.
template <class Element> using ConstSpan = std::type_identity_t<std::span<const Element>>;

//! out[i] = from[rows[i]], zeros where rows[i] is -1. rows: out.rows.
template <class Element>
void gather_rows(Workers& workers, ConstMatrix<Element> from, std::span<const Index> rows, Matrix<Element> out) {
  detail::gather<Element>(workers, from, rows, nullptr, out);
}

//! out[i] = weights[i] * from[rows[i]], zeros where rows[i] is -1. rows and weights: out.rows.
template <class Element>
void scale_gather_rows(Workers& workers, ConstMatrix<Element> from, std::span<const Index> rows,
                       ConstSpan<Element> weights, Matrix<Element> out) {
  detail::gather<Element>(workers, from, rows, weights.data(), out);
}

//! out[t] = sum over slots, ascending, of weights[t, slot] * from[place[t, slot]]: one running sum from +0, an fma a
//! step; slots whose place is -1 are left out. place and weights: out.rows x slots.
template <class Element>
void combine_rows(Workers& workers, ConstMatrix<Element> from, std::span<const Index> place, ConstSpan<Element> weights,
                  Index slots, Matrix<Element> out) {
  detail::combine<Element>(workers, from, place, weights.data(), slots, false, out);
}

//! The same without weights; with `onto` the sum starts at what out holds.
template <class Element>
void sum_rows(Workers& workers, ConstMatrix<Element> from, std::span<const Index> place, Index slots,
              Matrix<Element> out, bool onto = false) {
  detail::combine<Element>(workers, from, place, nullptr, slots, onto, out);
}

//! out[i] = dot of a[a_rows[i]] and b[b_rows[i]] in 64 lanes, 0 where one of them is -1. An empty list of rows stands
//! for 0, 1, 2, ...
template <class Element>
void row_dots(Workers& workers, ConstMatrix<Element> a, std::span<const Index> a_rows, ConstMatrix<Element> b,
              std::span<const Index> b_rows, std::span<Element> out) {
  detail::spread(workers, static_cast<Index>(out.size()), a.columns, [&](Index first, Index last, Index) {
    dispatch<detail::RowDotsBody>(a, a_rows.empty() ? nullptr : a_rows.data(), b,
                                  b_rows.empty() ? nullptr : b_rows.data(), first, last, out.data());
  });
}

}  // namespace moepar::cpu
