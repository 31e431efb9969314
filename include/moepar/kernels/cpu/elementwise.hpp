// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/row_sum.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/kernels/cpu/spread.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/matrix.hpp>
#include <type_traits>

namespace moepar::cpu {
namespace detail {

//! out[i] = Function::of(in[i]...). Results wait in a local array, which cannot be what `in` points to: so the loop is
//! vectorised without a test, also in place.
template <class Function> struct MapBody {
  template <class Element, class... Input>
  [[gnu::always_inline]] static inline void part(Index count, Element* out, const Input*... in) {
    Element result[row_lanes];
    for (Index i = 0; i < count; ++i) result[i] = Function::of(in[i]...);
    for (Index i = 0; i < count; ++i) out[i] = result[i];
  }
  template <class Element, class... Input>
  [[gnu::always_inline]] static inline void run(Index count, Element* out, const Input*... in) {
    Index done = 0;
    for (; done + row_lanes <= count; done += row_lanes) part(row_lanes, out + done, (in + done)...);
    part(count - done, out + done, (in + done)...);
  }
};

template <class Function, class Element, class... Input>
void map(Workers& workers, Index count, Element* out, const Input*... in) {
  spread(workers, count, 1, [&](Index first, Index last, Index) {
    dispatch<MapBody<Function>>(last - first, out + first, (in + first)...);
  });
}

struct Sum {
  template <class Element> [[gnu::always_inline]] static inline Element of(Element a, Element b) { return a + b; }
};

struct FillBody {
  template <class Element> [[gnu::always_inline]] static inline void run(Index count, Element* out, Element value) {
    for (Index i = 0; i < count; ++i) out[i] = value;
  }
};

}  // namespace detail

//! out = a + b, matrices of one shape; out may be a or b.
template <class Element>
void add(Workers& workers, ConstMatrix<Element> a, ConstMatrix<Element> b, Matrix<Element> out) {
  detail::map<detail::Sum>(workers, out.size(), out.data, a.data, b.data);
}

//! Every element of out becomes `value`.
template <class Element> void fill(Workers& workers, Matrix<Element> out, std::type_identity_t<Element> value) {
  detail::spread(workers, out.size(), 1, [&](Index first, Index last, Index) {
    dispatch<detail::FillBody>(last - first, out.data + first, value);
  });
}

}  // namespace moepar::cpu
