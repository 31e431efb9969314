// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <moepar/core/index.hpp>
#include <moepar/core/row_sum.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/kernels/cpu/lanes.hpp>
#include <moepar/kernels/cpu/spread.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <span>

namespace moepar::cpu {

//! Elements of one leaf of a gradient's norm; a shard is a run of whole blocks.
inline constexpr Index norm_block = 1024;

namespace detail {

struct SquareSumBody {
  [[gnu::always_inline]] static inline void part(Index count, double (&lane)[row_lanes], const float* values) {
    for (Index i = 0; i < count; ++i) {
      const double value = static_cast<double>(values[i] + 0.0f);
      lane[i] = std::fma(value, value, lane[i]);
    }
  }
  [[gnu::always_inline]] static inline void run(const float* values, Index count, double* sums) {
    for (Index begin = 0; begin < count; begin += norm_block) {
      const Index end = std::min(count, begin + norm_block);
      double lane[row_lanes];
      fill_lanes(lane, 0.0);
      Index i = begin;
      for (; i + row_lanes <= end; i += row_lanes) part(row_lanes, lane, values + i);
      part(end - i, lane, values + i);
      sums[begin / norm_block] = sum_lanes(lane);
    }
  }
};

}  // namespace detail

//! Sum of squares of at most norm_block values, in 64 bits and 64 lanes.
inline double square_sum(std::span<const float> block) {
  double sum = 0;
  dispatch<detail::SquareSumBody>(block.data(), static_cast<Index>(block.size()), &sum);
  return sum;
}

//! sums[b] = square_sum of block b of `values`, the last block being the rest. sums: as many as there are blocks.
inline void block_square_sums(Workers& workers, std::span<const float> values, std::span<double> sums) {
  const auto count = static_cast<Index>(values.size());
  detail::spread(workers, moepar::detail::ceil_div(count, norm_block), norm_block, [&](Index first, Index last, Index) {
    const Index begin = first * norm_block, end = std::min(count, last * norm_block);
    dispatch<detail::SquareSumBody>(values.data() + begin, end - begin, sums.data() + first);
  });
}

}  // namespace moepar::cpu
