// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <atomic>
#include <cmath>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/row_sum.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/kernels/cpu/lanes.hpp>
#include <moepar/kernels/cpu/spread.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/gradient_parts.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/row_groups.hpp>

namespace moepar::cpu {
namespace detail {

//! With n = x * inverse (the normed row) and e = dy * weight: dx = inverse * (e - n * dot(e, n) / H).
struct RmsNormInputBody {
  template <class Element>
  [[gnu::always_inline]] static inline void dot_part(Index count, Element (&lane)[row_lanes], const Element* dy,
                                                     const Element* x, const Element* weight, Element inverse) {
    for (Index i = 0; i < count; ++i) lane[i] = std::fma(dy[i] * weight[i], x[i] * inverse, lane[i]);
  }
  template <class Element>
  [[gnu::always_inline]] static inline void part(Index count, const Element* dy, const Element* x,
                                                 const Element* weight, Element inverse, Element dot, Element* dx) {
    Element result[row_lanes];
    for (Index i = 0; i < count; ++i) result[i] = inverse * std::fma(-(x[i] * inverse), dot, dy[i] * weight[i]);
    for (Index i = 0; i < count; ++i) dx[i] = result[i];
  }
  template <class Element>
  [[gnu::always_inline]] static inline void run(Matrix<const Element> dy, const Element* x, const Element* weight,
                                                const Element* inverse, Element* dx, bool* finite) {
    const Index whole = dy.columns / row_lanes * row_lanes, rest = dy.columns - whole;
    for (Index t = 0; t < dy.rows; ++t, x += dy.columns, dx += dy.columns) {
      const Element* dy_row = dy.row(t);
      Element lane[row_lanes];
      fill_lanes(lane, Element{0});
      for (Index i = 0; i < whole; i += row_lanes) dot_part(row_lanes, lane, dy_row + i, x + i, weight + i, inverse[t]);
      dot_part(rest, lane, dy_row + whole, x + whole, weight + whole, inverse[t]);
      const Element dot = sum_lanes(lane) / static_cast<Element>(dy.columns);
      if (!std::isfinite(dot)) *finite = false;
      for (Index i = 0; i < whole; i += row_lanes)
        part(row_lanes, dy_row + i, x + i, weight + i, inverse[t], dot, dx + i);
      part(rest, dy_row + whole, x + whole, weight + whole, inverse[t], dot, dx + whole);
    }
  }
};

//! Columns [first, first + count) of the weight gradient, count <= row_lanes; `stack` has room for
//! GranuleTree::max_parts + 1 rows of lanes.
struct RmsNormWeightBody {
  template <class Element>
  [[gnu::always_inline]] static inline void columns(Index count, const RowGroups& rows, Matrix<const Element> dy,
                                                    const Element* x, const Element* inverse, Index first,
                                                    GradientParts<Element> gradient, Element* stack) {
    Index height = 0;
    for (Index granule = 0; granule < rows.granules; ++granule) {
      Element sum[row_lanes];
      fill_lanes(sum, Element{0});
      for (Index t = rows.begins[granule]; t < rows.begins[granule + 1]; ++t) {
        const Element *dy_row = dy.row(t) + first, *x_row = x + t * dy.columns + first;
        for (Index i = 0; i < count; ++i) sum[i] = std::fma(dy_row[i], x_row[i] * inverse[t], sum[i]);
      }
      for (Index merge = 0; merge < rows.merges[granule]; ++merge) {
        --height;
        for (Index i = 0; i < count; ++i) sum[i] = stack[height * row_lanes + i] + sum[i];
      }
      for (Index i = 0; i < count; ++i) stack[height * row_lanes + i] = sum[i];
      ++height;
    }
    for (Index part = 0; part < gradient.parts; ++part)
      for (Index i = 0; i < count; ++i) gradient.part(part).data[first + i] = stack[part * row_lanes + i];
  }
  template <class Element>
  [[gnu::always_inline]] static inline void run(RowGroups rows, Matrix<const Element> dy, const Element* x,
                                                const Element* inverse, Index first, Index count,
                                                GradientParts<Element> gradient, Element* stack) {
    if (count == row_lanes)
      columns(row_lanes, rows, dy, x, inverse, first, gradient, stack);
    else
      columns(count, rows, dy, x, inverse, first, gradient, stack);
  }
};

}  // namespace detail

//! The gradients of rms_norm. `rows` has one group; dy, x and dx: rows x H, dx may be dy or x; weight_gradient: parts
//! of 1 x H. Returns whether every row's dot product was finite.
template <class Element>
bool rms_norm_backward(Workers& workers, const RowGroups& rows, ConstMatrix<Element> dy, ConstMatrix<Element> x,
                       ConstMatrix<Element> weight, ConstMatrix<Element> inverse, Matrix<Element> dx,
                       GradientParts<Element> weight_gradient) {
  std::atomic<bool> all_finite{true};
  const Index blocks = moepar::detail::ceil_div(x.columns, row_lanes);
  detail::spread(workers, blocks, row_lanes * x.rows, [&](Index first, Index last, Index worker) {
    for (Index block = first; block < last; ++block) {
      const Index begin = block * row_lanes, count = std::min(row_lanes, x.columns - begin);
      dispatch<detail::RmsNormWeightBody>(rows, dy, x.data, inverse.data, begin, count, weight_gradient,
                                          reinterpret_cast<Element*>(workers.scratch(worker)));
    }
  });
  detail::spread(workers, x.rows, x.columns, [&](Index first, Index last, Index) {
    bool finite = true;
    dispatch<detail::RmsNormInputBody>(Matrix<const Element>{dy.row(first), last - first, x.columns}, x.row(first),
                                       weight.data, inverse.data + first, dx.row(first), &finite);
    if (!finite) all_finite.store(false, std::memory_order_relaxed);
  });
  return all_finite.load();
}

}  // namespace moepar::cpu
