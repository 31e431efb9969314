// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/kernels/cpu/dense.hpp>
#include <moepar/kernels/cpu/swiglu.hpp>
#include <moepar/tensor/matrix.hpp>

namespace moepar {

//! The operations of a device on host memory, each finished when it returns. Shapes are the caller's promise.
class CpuDevice {
 public:
  template <class Element>
  void multiply(ConstMatrix<Element> input, ConstMatrix<Element> weight, Matrix<Element> output) {
    cpu::multiply(input, weight, output);
  }
  template <class Element>
  void multiply_transposed(ConstMatrix<Element> output_gradient, ConstMatrix<Element> weight,
                           Matrix<Element> input_gradient) {
    cpu::multiply_transposed(output_gradient, weight, input_gradient);
  }
  template <class Element>
  void multiply_transposed_onto(ConstMatrix<Element> output_gradient, ConstMatrix<Element> weight,
                                Matrix<Element> input_gradient) {
    cpu::multiply_transposed_onto(output_gradient, weight, input_gradient);
  }
  template <class Element>
  void accumulate_outer(ConstMatrix<Element> output_gradient, ConstMatrix<Element> input,
                        Matrix<Element> weight_gradient) {
    cpu::accumulate_outer(output_gradient, input, weight_gradient);
  }
  template <class Element> void swiglu(ConstMatrix<Element> gate, ConstMatrix<Element> up, Matrix<Element> product) {
    cpu::swiglu(gate, up, product);
  }
  template <class Element>
  void swiglu_backward(ConstMatrix<Element> gate, ConstMatrix<Element> up, ConstMatrix<Element> product_gradient,
                       Matrix<Element> gate_gradient, Matrix<Element> up_gradient) {
    cpu::swiglu_backward(gate, up, product_gradient, gate_gradient, up_gradient);
  }
};

}  // namespace moepar
