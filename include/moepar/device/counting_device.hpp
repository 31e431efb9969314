// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <moepar/core/index.hpp>
#include <moepar/tensor/gradient_parts.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/row_groups.hpp>
#include <span>

namespace moepar {

//! A device that computes nothing and counts the floating-point operations of matrix products and attention (a fused
//! multiply-add is two). The functions are those of CpuDevice (kernels/cpu/cpu_device.hpp).
class CountingDevice {
 public:
  static constexpr bool counting = true;

  template <class Element>
  constexpr void multiply(const RowGroups& rows, ConstMatrix<Element> input, ConstMatrix<Element> weight,
                          Matrix<Element>) {
    flops_ += 2 * input.rows * weight.size() / rows.groups;
  }
  template <class Element>
  constexpr void multiply_transposed(const RowGroups& rows, ConstMatrix<Element> output_gradient,
                                     ConstMatrix<Element> weight, Matrix<Element>) {
    flops_ += 2 * output_gradient.rows * weight.size() / rows.groups;
  }
  template <class Element>
  constexpr void multiply_transposed_onto(const RowGroups& rows, ConstMatrix<Element> output_gradient,
                                          ConstMatrix<Element> weight, Matrix<Element>) {
    flops_ += 2 * output_gradient.rows * weight.size() / rows.groups;
  }
  template <class Element>
  constexpr void weight_gradient(const RowGroups& rows, ConstMatrix<Element> output_gradient, ConstMatrix<Element>,
                                 GradientParts<Element> gradient) {
    flops_ += 2 * output_gradient.rows * gradient.size() / rows.groups;
  }
  //! Scores and context are two products of head_size for each pair of positions, of which the mask leaves half.
  template <class Element>
  constexpr void attention(const RowGroups&, Index length, ConstMatrix<Element> query, ConstMatrix<Element>,
                           ConstMatrix<Element>, Index, Index, Matrix<Element>, Matrix<Element>) {
    flops_ += 2 * query.size() * (length + 1);
  }
  //! Scores again, and the gradients of query, key, value and probabilities.
  template <class Element>
  constexpr void attention_backward(const RowGroups&, Index length, ConstMatrix<Element> query, ConstMatrix<Element>,
                                    ConstMatrix<Element>, ConstMatrix<Element>, ConstMatrix<Element>,
                                    ConstMatrix<Element>, Index, Index, Matrix<Element>, Matrix<Element>,
                                    Matrix<Element>) {
    flops_ += 5 * query.size() * (length + 1);
  }

  // What is not counted.
  template <class... Arguments> constexpr void swiglu(const Arguments&...) {}
  template <class... Arguments> constexpr void swiglu_backward(const Arguments&...) {}
  template <class... Arguments> constexpr void add(const Arguments&...) {}
  template <class... Arguments> constexpr bool rms_norm(const Arguments&...) { return true; }
  template <class... Arguments> constexpr bool rms_norm_backward(const Arguments&...) { return true; }
  template <class... Arguments> constexpr void rotate(const Arguments&...) {}
  template <class... Arguments> constexpr void embed(const Arguments&...) {}
  template <class... Arguments> constexpr void embedding_gradient(const Arguments&...) {}
  template <class... Arguments> constexpr void cross_entropy(const Arguments&...) {}
  template <class... Arguments> constexpr void cross_entropy_losses(const Arguments&...) {}

  [[nodiscard]] constexpr Index flops() const { return flops_; }

 private:
  Index flops_ = 0;
};

}  // namespace moepar
