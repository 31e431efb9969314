// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstddef>
#include <limits>
#include <span>
#include <string>
#include <type_traits>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>

// Sums inside one row (norms, softmax, cross entropy, dot products). A sum's bits depend on its order, so the order is
// fixed: 64 lanes, element i in lane i mod 64, then halving. Four AVX-512 or eight AVX2 accumulators are exactly this.

namespace moepar {

//! Lanes of a row sum, part of the numerical contract.
inline constexpr Index row_lanes = 64;

//! 64 running sums from +0, for sums whose elements are computed on the way. `Real` is float or double.
template <class Real> class LaneSum {
 public:
  //! Adds left * right, the row's element `index`, with one rounding.
  void add_product(Index index, Real left, Real right) {
    Real& lane = lane_[index & (row_lanes - 1)];
    lane = std::fma(left, right, lane);
  }

  //! Adds `value`, the row's element `index`; the same bits as add_product(index, value, 1).
  constexpr void add(Index index, Real value) { lane_[index & (row_lanes - 1)] += value; }

  //! The sum of the lanes: lane[l] += lane[l + h] for h = 32, 16, 8, 4, 2, 1.
  [[nodiscard]] constexpr Real total() const {
    Real lane[row_lanes];
    for (Index i = 0; i < row_lanes; ++i) lane[i] = lane_[i];
    for (Index half = row_lanes / 2; half > 0; half /= 2)
      for (Index i = 0; i < half; ++i) lane[i] += lane[i + half];
    return lane[0];
  }

 private:
  Real lane_[row_lanes] = {};
};

namespace detail {

[[noreturn]] inline void throw_row_lengths(std::size_t left, std::size_t right) {
  throw Error{"moepar::row_dot: the rows have " + std::to_string(left) + " and " + std::to_string(right) +
              " elements. Fix: pass two rows of one length."};
}

}  // namespace detail

//! Sum of left[i] * right[i] in `Sum` arithmetic, 64 lanes, one fma an element. Rows of different length throw Error.
template <class Sum = float, class Left, class Right>
[[nodiscard]] Sum row_dot(std::span<Left> left, std::span<Right> right) {
  if (left.size() != right.size()) detail::throw_row_lengths(left.size(), right.size());
  LaneSum<Sum> sum;
  const auto count = static_cast<Index>(left.size());
  const auto *a = left.data(), *b = right.data();
  Index done = 0;
  for (; done + row_lanes <= count; done += row_lanes)  // whole blocks apart, so that compilers vectorise them
    for (Index lane = 0; lane < row_lanes; ++lane)
      sum.add_product(lane, static_cast<Sum>(a[done + lane]), static_cast<Sum>(b[done + lane]));
  for (Index lane = 0; done + lane < count; ++lane)
    sum.add_product(lane, static_cast<Sum>(a[done + lane]), static_cast<Sum>(b[done + lane]));
  return sum.total();
}

//! Sum of the row's elements in `Sum` arithmetic, 64 lanes; an empty row gives +0.
template <class Sum = float, class Element> [[nodiscard]] constexpr Sum row_sum(std::span<Element> row) {
  LaneSum<Sum> sum;
  for (std::size_t i = 0; i < row.size(); ++i) sum.add(static_cast<Index>(i), static_cast<Sum>(row[i]));
  return sum.total();
}

//! Largest element, 64 lanes from -infinity, `a > b ? a : b` with a the lane and b the newcomer (then a the lower, b
//! the upper lane): what x86 `max` instructions do. An empty row gives -infinity. A NaN may be lost: test for it
//! elsewhere.
template <class Real> [[nodiscard]] constexpr auto row_max(std::span<Real> row) {
  using Value = std::remove_const_t<Real>;
  Value lane[row_lanes];
  for (Value& value : lane) value = -std::numeric_limits<Value>::infinity();
  const auto larger = [](Value a, Value b) { return a > b ? a : b; };
  for (std::size_t i = 0; i < row.size(); ++i) {
    Value& value = lane[static_cast<Index>(i) & (row_lanes - 1)];
    value = larger(value, row[i]);
  }
  for (Index half = row_lanes / 2; half > 0; half /= 2)
    for (Index i = 0; i < half; ++i) lane[i] = larger(lane[i], lane[i + half]);
  return lane[0];
}

}  // namespace moepar
