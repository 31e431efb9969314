// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <cmath>
#include <moepar/core/index.hpp>
#include <moepar/core/row_sum.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/kernels/cpu/lanes.hpp>
#include <moepar/kernels/cpu/spread.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/matrix.hpp>
#include <type_traits>

namespace moepar::cpu {
namespace detail {

struct RmsNormBody {
  template <class Element>
  [[gnu::always_inline]] static inline void part(Index count, const Element* x, const Element* weight, Element inverse,
                                                 Element* y) {
    Element result[row_lanes];
    for (Index i = 0; i < count; ++i) result[i] = x[i] * inverse * weight[i];
    for (Index i = 0; i < count; ++i) y[i] = result[i];
  }
  template <class Element>
  [[gnu::always_inline]] static inline void run(Matrix<const Element> x, const Element* weight, Element epsilon,
                                                Element* y, Element* inverse, bool* finite) {
    for (Index t = 0; t < x.rows; ++t, y += x.columns) {
      const Element* row = x.row(t);
      const Element mean = lane_dot(row, row, x.columns) / static_cast<Element>(x.columns);
      if (!std::isfinite(mean)) *finite = false;
      inverse[t] = Element{1} / std::sqrt(mean + epsilon);
      Index done = 0;
      for (; done + row_lanes <= x.columns; done += row_lanes)
        part(row_lanes, row + done, weight + done, inverse[t], y + done);
      part(x.columns - done, row + done, weight + done, inverse[t], y + done);
    }
  }
};

}  // namespace detail

//! y = (x * inverse) * weight, inverse = 1 / sqrt(mean of the row's squares + epsilon). x and y: rows x H, weight:
//! 1 x H, inverse: rows x 1; y may be x. Returns whether every row's mean of squares was finite.
template <class Element>
bool rms_norm(Workers& workers, ConstMatrix<Element> x, ConstMatrix<Element> weight,
              std::type_identity_t<Element> epsilon, Matrix<Element> y, Matrix<Element> inverse) {
  std::atomic<bool> all_finite{true};
  detail::spread(workers, x.rows, x.columns, [&](Index first, Index last, Index) {
    bool finite = true;
    dispatch<detail::RmsNormBody>(Matrix<const Element>{x.row(first), last - first, x.columns}, weight.data, epsilon,
                                  y.row(first), inverse.data + first, &finite);
    if (!finite) all_finite.store(false, std::memory_order_relaxed);
  });
  return all_finite.load();
}

}  // namespace moepar::cpu
