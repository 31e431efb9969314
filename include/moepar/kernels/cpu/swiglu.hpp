// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <moepar/core/elementary.hpp>
#include <moepar/core/exponential.hpp>
#include <moepar/core/index.hpp>
#include <moepar/tensor/matrix.hpp>

namespace moepar::cpu {

namespace detail {
inline float sigmoid_of(float x) { return sigmoid(x); }
//! For gradients checked in 64 bits.
inline double sigmoid_of(double x) { return 1.0 / (1.0 + exp64(-x)); }
}  // namespace detail

//! product = silu(gate) * up, element by element
template <class Element> void swiglu(ConstMatrix<Element> gate, ConstMatrix<Element> up, Matrix<Element> product) {
  for (Index i = 0; i < gate.size(); ++i)
    product.data[i] = gate.data[i] * detail::sigmoid_of(gate.data[i]) * up.data[i];
}

//! silu'(x) = s + x s (1 - s) = s * fma(x, 1 - s, 1), with s = sigmoid(x)
template <class Element>
void swiglu_backward(ConstMatrix<Element> gate, ConstMatrix<Element> up, ConstMatrix<Element> product_gradient,
                     Matrix<Element> gate_gradient, Matrix<Element> up_gradient) {
  for (Index i = 0; i < gate.size(); ++i) {
    const Element x = gate.data[i], s = detail::sigmoid_of(x), outer = product_gradient.data[i];
    up_gradient.data[i] = outer * (x * s);
    gate_gradient.data[i] = outer * up.data[i] * (s * std::fma(x, 1 - s, Element{1}));
  }
}

}  // namespace moepar::cpu
