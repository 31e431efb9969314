// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <moepar/comm/call.hpp>
#include <moepar/comm/ledger.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/part_stack.hpp>
#include <moepar/kernels/cpu/elementary.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/router_totals.hpp>
#include <span>

namespace moepar {

//! Sinkhorn's iteration on exp(logits): scales columns (experts) and rows (tokens) in turn until every expert has the
//! same share and every token one. Only the scale of the columns decides which experts a token prefers. Safe for any
//! finite logits: each row is divided by its maximum first, which changes no preference; the number of sweeps is fixed,
//! and what imbalance is left is reported.
inline constexpr Index sinkhorn_sweeps = 30;

namespace detail {

inline constexpr double sinkhorn_floor = 1e-8;  //!< as in Megatron-LM: keeps empty columns finite

//! table = exp(logit - largest of the row) for the rows of one scope.
template <class Element>
inline void sinkhorn_table(ConstMatrix<Element> logits, Index begin, Index end, Matrix<double> table) {
  for (Index t = begin; t < end; ++t) {
    const Element* row = logits.row(t);
    Element maximum = row[0];
    for (Index e = 1; e < logits.columns; ++e) maximum = row[e] > maximum ? row[e] : maximum;
    for (Index e = 0; e < logits.columns; ++e)
      table.row(t)[e] = static_cast<double>(cpu::detail::exp_of(row[e] - maximum));
  }
}

//! Adds to column_sums what rows [begin, end) give to each column when rows are scaled to one: positions ascending.
inline void sinkhorn_columns(Matrix<double> table, Index begin, Index end, const double* scale, double* column_sums) {
  for (Index t = begin; t < end; ++t) {
    double row_sum = 0;
    for (Index e = 0; e < table.columns; ++e) row_sum = std::fma(table.row(t)[e], scale[e], row_sum);
    const double row_scale = 1 / (row_sum + sinkhorn_floor);
    for (Index e = 0; e < table.columns; ++e) column_sums[e] = std::fma(table.row(t)[e], row_scale, column_sums[e]);
  }
}

//! New scales from the columns of `rows` rows; returns the largest relative distance of a share from an equal one.
inline double sinkhorn_scale(const double* column_sums, Index experts, Index rows, double* scale) {
  const double share = static_cast<double>(rows) / static_cast<double>(experts);
  double error = 0;
  for (Index e = 0; e < experts; ++e) {
    error = std::max(error, std::fabs(column_sums[e] * scale[e] / share - 1));
    scale[e] = share / (column_sums[e] + sinkhorn_floor);
  }
  return error;
}

}  // namespace detail

//! scores[t, e] = exp(logit) x scale of e, up to a factor of each row, over one sequence: rows [begin, end). table,
//! scale and column_sums are scratch: as logits, and experts numbers each. Returns the imbalance before the last sweep.
template <class Element>
double sinkhorn_scores(ConstMatrix<Element> logits, Index begin, Index end, Matrix<double> scores, double* scale,
                       double* column_sums) {
  detail::sinkhorn_table<Element>(logits, begin, end, scores);
  std::fill_n(scale, logits.columns, 1.0);
  double error = 0;
  for (Index sweep = 0; begin < end && sweep < sinkhorn_sweeps; ++sweep) {
    std::fill_n(column_sums, logits.columns, 0.0);
    detail::sinkhorn_columns(scores, begin, end, scale, column_sums);
    error = detail::sinkhorn_scale(column_sums, logits.columns, end - begin, scale);
  }
  for (Index t = begin; t < end; ++t)
    for (Index e = 0; e < logits.columns; ++e) scores.row(t)[e] *= scale[e];
  return error;
}

//! The same over the whole batch: every sweep adds the columns of all sequences by the tree over the batch. sums:
//! room for all sequences of the batch x experts; begins: rows of this rank's sequences. world_gather(own, all) brings
//! together one row of `experts` doubles a sequence, in the order of the batch.
template <class Element, class WorldGather>
double sinkhorn_scores_of_batch(ConstMatrix<Element> logits, const Index* begins, GranuleRange own,
                                const GranuleTree& tree, Index rows_of_batch, Matrix<double> scores, double* scale,
                                Matrix<double> sums, WorldGather world_gather) {
  const Index experts = logits.columns, begin = begins[0], end = begins[own.count()];
  struct AddRow {
    Index experts;
    void operator()(double* left, const double* right) const {
      for (Index e = 0; e < experts; ++e) left[e] += right[e];
    }
  };
  detail::sinkhorn_table<Element>(logits, begin, end, scores);
  std::fill_n(scale, experts, 1.0);
  double error = 0;
  for (Index sweep = 0; rows_of_batch > 0 && sweep < sinkhorn_sweeps; ++sweep) {
    for (Index g = 0; g < own.count(); ++g) {
      double* sum = sums.row(own.first + g);
      std::fill_n(sum, experts, 0.0);
      detail::sinkhorn_columns(scores, begins[g], begins[g + 1], scale, sum);
    }
    world_gather(sums);
    PartStack<double*, AddRow> stack{tree, {experts}};
    for (Index g = 0; g < tree.granules(); ++g) stack.push({g, g + 1}, sums.row(g));
    error = detail::sinkhorn_scale(stack.finish(), experts, rows_of_batch, scale);
  }
  for (Index t = begin; t < end; ++t)
    for (Index e = 0; e < experts; ++e) scores.row(t)[e] *= scale[e];
  return error;
}

}  // namespace moepar
