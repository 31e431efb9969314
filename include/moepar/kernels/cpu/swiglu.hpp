// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/elementary.hpp>
#include <moepar/kernels/cpu/elementwise.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/kernels/cpu/spread.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/matrix.hpp>

namespace moepar::cpu {
namespace detail {

struct SwiGluFunction {
  template <class Element> [[gnu::always_inline]] static inline Element of(Element gate, Element up) {
    return gate * sigmoid_of(gate) * up;
  }
};

//! silu'(x) = s + x s (1 - s) = s * fma(x, 1 - s, 1), with s = sigmoid(x)
struct SwiGluBackwardBody {
  template <class Element>
  [[gnu::always_inline]] static inline void part(Index count, const Element* gate, const Element* up,
                                                 const Element* product_gradient, Element* gate_gradient,
                                                 Element* up_gradient) {
    Element to_gate[row_lanes], to_up[row_lanes];
    for (Index i = 0; i < count; ++i) {
      const Element x = gate[i], s = sigmoid_of(x), outer = product_gradient[i];
      to_up[i] = outer * (x * s);
      to_gate[i] = outer * up[i] * (s * std::fma(x, 1 - s, Element{1}));
    }
    for (Index i = 0; i < count; ++i) gate_gradient[i] = to_gate[i];
    for (Index i = 0; i < count; ++i) up_gradient[i] = to_up[i];
  }
  template <class Element>
  [[gnu::always_inline]] static inline void run(Index count, const Element* gate, const Element* up,
                                                const Element* product_gradient, Element* gate_gradient,
                                                Element* up_gradient) {
    Index i = 0;
    for (; i + row_lanes <= count; i += row_lanes)
      part(row_lanes, gate + i, up + i, product_gradient + i, gate_gradient + i, up_gradient + i);
    part(count - i, gate + i, up + i, product_gradient + i, gate_gradient + i, up_gradient + i);
  }
};

}  // namespace detail

//! product = silu(gate) * up, element by element; product may be gate or up.
template <class Element>
void swiglu(Workers& workers, ConstMatrix<Element> gate, ConstMatrix<Element> up, Matrix<Element> product) {
  detail::map<detail::SwiGluFunction>(workers, product.size(), product.data, gate.data, up.data);
}

//! The gradients of gate and up from that of the product. Each output may be any one of the inputs.
template <class Element>
void swiglu_backward(Workers& workers, ConstMatrix<Element> gate, ConstMatrix<Element> up,
                     ConstMatrix<Element> product_gradient, Matrix<Element> gate_gradient,
                     Matrix<Element> up_gradient) {
  detail::spread(workers, gate_gradient.size(), 1, [&](Index first, Index last, Index) {
    dispatch<detail::SwiGluBackwardBody>(last - first, gate.data + first, up.data + first,
                                         product_gradient.data + first, gate_gradient.data + first,
                                         up_gradient.data + first);
  });
}

}  // namespace moepar::cpu
