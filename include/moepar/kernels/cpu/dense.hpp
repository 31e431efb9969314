// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <moepar/core/index.hpp>
#include <moepar/tensor/matrix.hpp>

// Matrix products in the order that every layout and every instruction set must reproduce: one accumulator an element,
// started at +0, the summed index ascending, each step one fma. This is the portable path: right on any machine, not
// fast.
namespace moepar::cpu {

//! output[t, n] = sum over k of input[t, k] weight[n, k]
template <class Element>
void multiply(ConstMatrix<Element> input, ConstMatrix<Element> weight, Matrix<Element> output) {
  for (Index t = 0; t < input.rows; ++t) {
    for (Index n = 0; n < weight.rows; ++n) {
      Element sum = 0;
      for (Index k = 0; k < weight.columns; ++k) sum = std::fma(input.row(t)[k], weight.row(n)[k], sum);
      output.row(t)[n] = sum;
    }
  }
}

//! input_gradient[t, k] += sum over n of output_gradient[t, n] weight[n, k], one running sum that starts at what is
//! there
template <class Element>
void multiply_transposed_onto(ConstMatrix<Element> output_gradient, ConstMatrix<Element> weight,
                              Matrix<Element> input_gradient) {
  for (Index t = 0; t < output_gradient.rows; ++t)
    for (Index n = 0; n < weight.rows; ++n)
      for (Index k = 0; k < weight.columns; ++k)
        input_gradient.row(t)[k] = std::fma(output_gradient.row(t)[n], weight.row(n)[k], input_gradient.row(t)[k]);
}

//! input_gradient[t, k] = sum over n of output_gradient[t, n] weight[n, k]
template <class Element>
void multiply_transposed(ConstMatrix<Element> output_gradient, ConstMatrix<Element> weight,
                         Matrix<Element> input_gradient) {
  for (Index i = 0; i < input_gradient.size(); ++i) input_gradient.data[i] = 0;
  multiply_transposed_onto(output_gradient, weight, input_gradient);
}

//! weight_gradient[n, k] += sum over t of output_gradient[t, n] input[t, k], rows ascending: the leaf of one granule
//! when weight_gradient starts at zero
template <class Element>
void accumulate_outer(ConstMatrix<Element> output_gradient, ConstMatrix<Element> input,
                      Matrix<Element> weight_gradient) {
  for (Index t = 0; t < output_gradient.rows; ++t)
    for (Index n = 0; n < output_gradient.columns; ++n)
      for (Index k = 0; k < input.columns; ++k)
        weight_gradient.row(n)[k] = std::fma(output_gradient.row(t)[n], input.row(t)[k], weight_gradient.row(n)[k]);
}

}  // namespace moepar::cpu
