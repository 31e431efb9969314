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
  constexpr void multiply(Matrix<const Element> input, Matrix<const Element> weight, Matrix<Element>) {
    flops_ += 2 * input.rows * weight.size();
  }
  template <class Element>
  constexpr void multiply_transposed(Matrix<const Element> output_gradient, Matrix<const Element> weight,
                                     Matrix<Element>) {
    flops_ += 2 * output_gradient.rows * weight.size();
  }
  template <class Element>
  constexpr void multiply_transposed_onto(Matrix<const Element> output_gradient, Matrix<const Element> weight,
                                          Matrix<Element>) {
    flops_ += 2 * output_gradient.rows * weight.size();
  }
  template <class Element>
  constexpr void accumulate_outer(Matrix<const Element> output_gradient, Matrix<const Element>,
                                  Matrix<Element> weight_gradient) {
    flops_ += 2 * output_gradient.rows * weight_gradient.size();
  }
  template <class Element> constexpr void swiglu(Matrix<const Element>, Matrix<const Element>, Matrix<Element>) {}
  template <class Element>
  constexpr void swiglu_backward(Matrix<const Element>, Matrix<const Element>, Matrix<const Element>, Matrix<Element>,
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
  Arena arena_{};
  CountingDevice device_{};
};

}  // namespace moepar
