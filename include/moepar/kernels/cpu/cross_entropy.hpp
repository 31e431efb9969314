// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <moepar/core/index.hpp>
#include <moepar/core/row_sum.hpp>
#include <moepar/kernels/cpu/elementary.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/kernels/cpu/lanes.hpp>
#include <moepar/kernels/cpu/spread.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/matrix.hpp>
#include <span>
#include <type_traits>

namespace moepar::cpu {
namespace detail {

//! Sum of exp(row - maximum) in 64 lanes; writes the exponentials to `kept` unless that is null.
template <bool Keep, class Element>
[[gnu::always_inline]] inline void add_exponentials(Index count, Element (&lane)[row_lanes], const Element* row,
                                                    Element maximum, [[maybe_unused]] Element* kept) {
  Element power[row_lanes];
  for (Index i = 0; i < count; ++i) power[i] = exp_of(row[i] - maximum);
  for (Index i = 0; i < count; ++i) lane[i] += power[i];
  if constexpr (Keep)
    for (Index i = 0; i < count; ++i) kept[i] = power[i];
}

template <bool Keep, class Element>
[[gnu::always_inline]] inline Element sum_exponentials(const Element* row, Element maximum, Element* kept,
                                                       Index count) {
  Element lane[row_lanes];
  fill_lanes(lane, Element{0});
  Index i = 0;
  for (; i + row_lanes <= count; i += row_lanes)
    add_exponentials<Keep>(row_lanes, lane, row + i, maximum, Keep ? kept + i : nullptr);
  add_exponentials<Keep>(count - i, lane, row + i, maximum, Keep ? kept + i : nullptr);
  return sum_lanes(lane);
}

template <class Element>
[[gnu::always_inline]] inline void scale_powers(Index count, Element* powers, Element sum, Element scale) {
  for (Index i = 0; i < count; ++i) powers[i] = powers[i] / sum * scale;
}

template <bool Gradient> struct CrossEntropyBody {
  template <class Row, class Element>
  [[gnu::always_inline]] static inline void run(Matrix<Row> logits, const std::int32_t* targets,
                                                [[maybe_unused]] Element scale, double* losses) {
    const Index count = logits.columns;
    for (Index t = 0; t < logits.rows; ++t) {
      Row* row = logits.row(t);
      losses[t] = 0;
      if (targets[t] < 0) {
        if constexpr (Gradient)
          for (Index i = 0; i < count; ++i) row[i] = 0;
        continue;
      }
      const Element target_logit = row[targets[t]], maximum = lane_max<Element>(row, count);
      Element* kept = nullptr;
      if constexpr (Gradient) kept = row;
      const Element sum = sum_exponentials<Gradient, Element>(row, maximum, kept, count);
      losses[t] = static_cast<double>(log_sum_exp_of(maximum, sum)) - static_cast<double>(target_logit);
      if constexpr (Gradient) {
        const Element at_target = row[targets[t]] / sum;
        Index i = 0;
        for (; i + row_lanes <= count; i += row_lanes) scale_powers(row_lanes, row + i, sum, scale);
        scale_powers(count - i, row + i, sum, scale);
        row[targets[t]] = (at_target - Element{1}) * scale;
      }
    }
  }
};

}  // namespace detail

//! losses[t] = log of the sum of exp(logits[t]) - logits[t, target], and in place the gradient of their sum, times
//! `scale`: logits = (softmax(logits) - onehot(target)) * scale. logits: rows x V; targets and losses: rows. A negative
//! target (no label) gives loss 0 and a gradient of zeros.
template <class Element>
void cross_entropy(Workers& workers, Matrix<Element> logits, std::span<const std::int32_t> targets,
                   std::type_identity_t<Element> scale, std::span<double> losses) {
  detail::spread(workers, logits.rows, logits.columns, [&](Index first, Index last, Index) {
    dispatch<detail::CrossEntropyBody<true>>(Matrix<Element>{logits.row(first), last - first, logits.columns},
                                             targets.data() + first, scale, losses.data() + first);
  });
}

//! The same losses alone, for evaluation; leaves the logits as they are.
template <class Element>
void cross_entropy_losses(Workers& workers, Matrix<Element> logits, std::span<const std::int32_t> targets,
                          std::span<double> losses) {
  using Value = std::remove_const_t<Element>;
  detail::spread(workers, logits.rows, logits.columns, [&](Index first, Index last, Index) {
    dispatch<detail::CrossEntropyBody<false>>(Matrix<const Value>{logits.row(first), last - first, logits.columns},
                                              targets.data() + first, Value{1}, losses.data() + first);
  });
}

}  // namespace moepar::cpu
