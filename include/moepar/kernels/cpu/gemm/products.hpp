// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/kernels/cpu/gemm/row_product.hpp>
#include <moepar/kernels/cpu/gemm/tile_choice.hpp>
#include <moepar/kernels/cpu/gemm/weight_gradient.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/gradient_parts.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/row_groups.hpp>

// The products of a linear layer whose rows belong to groups, each with weights of its own: weight is groups matrices
// of N x K, one below the other, and weight_g is that of the group of row t. Every element has one accumulator that
// starts at +0 and takes the summed index ascending, each step one fma, so it depends neither on the other rows nor on
// workers, blocks or instruction set. Rows behind the last group are neither read nor written.
namespace moepar::cpu {

//! output[t, n] = sum over k of input[t, k] weight_g[n, k]
template <class Element>
void multiply(Workers& workers, const RowGroups& groups, ConstMatrix<Element> input, ConstMatrix<Element> weight,
              Matrix<Element> output) {
  detail::with_tile<Element>([&](auto tile) {
    detail::RowProduct<decltype(tile), true>{workers, groups, input, weight, output, false}.run();
  });
}

//! input_gradient[t, k] = sum over n of output_gradient[t, n] weight_g[n, k]
template <class Element>
void multiply_transposed(Workers& workers, const RowGroups& groups, ConstMatrix<Element> output_gradient,
                         ConstMatrix<Element> weight, Matrix<Element> input_gradient) {
  detail::with_tile<Element>([&](auto tile) {
    detail::RowProduct<decltype(tile), false>{workers, groups, output_gradient, weight, input_gradient, false}.run();
  });
}

//! The same, as the continuation of a running sum that starts at what is in input_gradient.
template <class Element>
void multiply_transposed_onto(Workers& workers, const RowGroups& groups, ConstMatrix<Element> output_gradient,
                              ConstMatrix<Element> weight, Matrix<Element> input_gradient) {
  detail::with_tile<Element>([&](auto tile) {
    detail::RowProduct<decltype(tile), false>{workers, groups, output_gradient, weight, input_gradient, true}.run();
  });
}

//! For every group: leaf[n, k] of a granule = sum over its rows t of output_gradient[t, n] input[t, k], rows ascending;
//! leaves are joined as RowGroups says, and the sums that are left go to the gradient's parts. All parts are written.
template <class Element>
void weight_gradient(Workers& workers, const RowGroups& groups, ConstMatrix<Element> output_gradient,
                     ConstMatrix<Element> input, const GradientParts<Element>& gradient) {
  detail::with_tile<Element>([&](auto tile) {
    detail::WeightGradient<decltype(tile)>{workers, groups, output_gradient, input, gradient}.run();
  });
}

}  // namespace moepar::cpu
