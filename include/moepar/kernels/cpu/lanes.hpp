// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <limits>
#include <moepar/core/index.hpp>
#include <moepar/core/row_sum.hpp>

// The sums of core/row_sum.hpp for the bodies of kernels. Always inlined, so that they are compiled for the instruction
// set of the kernel, and cut into whole rows of lanes, whose loops have a constant length: compilers vectorise those
// without a test. A tail runs the same operations on fewer lanes.
namespace moepar::cpu::detail {

template <class Element> [[gnu::always_inline]] inline void fill_lanes(Element (&lane)[row_lanes], Element value) {
  for (Index i = 0; i < row_lanes; ++i) lane[i] = value;
}

//! lane[l] += lane[l + h] for h = 32, 16, 8, 4, 2, 1; returns lane[0].
template <class Element> [[gnu::always_inline]] inline Element sum_lanes(Element (&lane)[row_lanes]) {
  for (Index half = row_lanes / 2; half > 0; half /= 2)
    for (Index i = 0; i < half; ++i) lane[i] += lane[i + half];
  return lane[0];
}

template <class Element>
[[gnu::always_inline]] inline void add_products(Element (&lane)[row_lanes], const Element* a, const Element* b,
                                                Index count) {
  for (Index i = 0; i < count; ++i) lane[i] = std::fma(a[i], b[i], lane[i]);
}

//! The same bits as moepar::row_dot.
template <class Element>
[[gnu::always_inline]] inline Element lane_dot(const Element* a, const Element* b, Index count) {
  Element lane[row_lanes];
  fill_lanes(lane, Element{0});
  Index done = 0;
  for (; done + row_lanes <= count; done += row_lanes) add_products(lane, a + done, b + done, row_lanes);
  add_products(lane, a + done, b + done, count - done);
  return sum_lanes(lane);
}

template <class Element>
[[gnu::always_inline]] inline void keep_larger(Element (&lane)[row_lanes], const Element* row, Index count) {
  for (Index i = 0; i < count; ++i) lane[i] = lane[i] > row[i] ? lane[i] : row[i];
}

//! The same bits as moepar::row_max.
template <class Element> [[gnu::always_inline]] inline Element lane_max(const Element* row, Index count) {
  Element lane[row_lanes];
  fill_lanes(lane, -std::numeric_limits<Element>::infinity());
  Index done = 0;
  for (; done + row_lanes <= count; done += row_lanes) keep_larger(lane, row + done, row_lanes);
  keep_larger(lane, row + done, count - done);
  for (Index half = row_lanes / 2; half > 0; half /= 2)
    for (Index i = 0; i < half; ++i) lane[i] = lane[i] > lane[i + half] ? lane[i] : lane[i + half];
  return lane[0];
}

}  // namespace moepar::cpu::detail
