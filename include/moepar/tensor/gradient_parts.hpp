// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/tensor/matrix.hpp>

namespace moepar {

//! Where the gradient of one parameter goes: one matrix for each part of the rank's granules (see RowGroups), `stride`
//! elements apart. Whoever computes a gradient writes every element of every part, zeros included.
template <class Element> struct GradientParts {
  Element* data = nullptr;
  Index rows = 0;  //!< of one part; the copies of a stack lie behind one another
  Index columns = 0;
  Index parts = 1;
  Index stride = 0;

  [[nodiscard]] constexpr Index size() const { return rows * columns; }  //!< elements of one part
  [[nodiscard]] constexpr Matrix<Element> part(Index index) const { return {data + index * stride, rows, columns}; }
};

}  // namespace moepar
