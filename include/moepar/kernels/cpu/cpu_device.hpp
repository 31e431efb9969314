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
  void multiply(Matrix<const Element> input, Matrix<const Element> weight, Matrix<Element> output) {
    cpu::multiply(input, weight, output);
  }
  template <class Element>
  void multiply_transposed(Matrix<const Element> output_gradient, Matrix<const Element> weight,
                           Matrix<Element> input_gradient) {
    cpu::multiply_transposed(output_gradient, weight, input_gradient);
  }
  template <class Element>
  void multiply_transposed_onto(Matrix<const Element> output_gradient, Matrix<const Element> weight,
                                Matrix<Element> input_gradient) {
    cpu::multiply_transposed_onto(output_gradient, weight, input_gradient);
  }
  template <class Element>
  void accumulate_outer(Matrix<const Element> output_gradient, Matrix<const Element> input,
                        Matrix<Element> weight_gradient) {
    cpu::accumulate_outer(output_gradient, input, weight_gradient);
  }
  template <class Element> void swiglu(Matrix<const Element> gate, Matrix<const Element> up, Matrix<Element> product) {
    cpu::swiglu(gate, up, product);
  }
  template <class Element>
  void swiglu_backward(Matrix<const Element> gate, Matrix<const Element> up, Matrix<const Element> product_gradient,
                       Matrix<Element> gate_gradient, Matrix<Element> up_gradient) {
    cpu::swiglu_backward(gate, up, product_gradient, gate_gradient, up_gradient);
  }
};

}  // namespace moepar
