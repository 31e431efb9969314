// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/tensor/arena.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/parameter.hpp>

namespace moepar {

//! A device that computes nothing and counts the floating-point operations of matrix products (a fused multiply-add is
//! two).
class CountingDevice {
 public:
  template <class Element>
  constexpr void multiply(ConstMatrix<Element> input, ConstMatrix<Element> weight, Matrix<Element>) {
    flops_ += 2 * input.rows * weight.size();
  }
  template <class Element>
  constexpr void multiply_transposed(ConstMatrix<Element> output_gradient, ConstMatrix<Element> weight,
                                     Matrix<Element>) {
    flops_ += 2 * output_gradient.rows * weight.size();
  }
  template <class Element>
  constexpr void multiply_transposed_onto(ConstMatrix<Element> output_gradient, ConstMatrix<Element> weight,
                                          Matrix<Element>) {
    flops_ += 2 * output_gradient.rows * weight.size();
  }
  template <class Element>
  constexpr void accumulate_outer(ConstMatrix<Element> output_gradient, ConstMatrix<Element>,
                                  Matrix<Element> weight_gradient) {
    flops_ += 2 * output_gradient.rows * weight_gradient.size();
  }
  template <class Element> constexpr void swiglu(ConstMatrix<Element>, ConstMatrix<Element>, Matrix<Element>) {}
  template <class Element>
  constexpr void swiglu_backward(ConstMatrix<Element>, ConstMatrix<Element>, ConstMatrix<Element>, Matrix<Element>,
                                 Matrix<Element>) {}

  [[nodiscard]] constexpr Index flops() const { return flops_; }

 private:
  Index flops_ = 0;
};

//! A rank without memory: running a step on it yields the bytes and operations of that step. Usable in constant
//! expressions.
template <class ElementType> class CountingRank {
 public:
  using Element = ElementType;

  constexpr Arena& arena() { return arena_; }
  constexpr CountingDevice& device() { return device_; }
  constexpr Matrix<const Element> weights(const Parameter& parameter) const {
    return {nullptr, parameter.rows, parameter.columns};
  }
  constexpr Matrix<Element> gradient(const Parameter& parameter) const {
    return {nullptr, parameter.rows, parameter.columns};
  }

 private:
  Arena arena_;
  CountingDevice device_;
};

}  // namespace moepar
