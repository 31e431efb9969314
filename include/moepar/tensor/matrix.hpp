// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <concepts>
#include <moepar/core/index.hpp>
#include <type_traits>

namespace moepar {

//! View of rows x columns elements, row-major and without gaps; does not own them. An aggregate, so that it can be
//! passed to a GPU kernel. Without memory (`data == nullptr`) it still has its shape: that is what a counting rank
//! works with.
template <class Element> struct Matrix {
  Element* data = nullptr;
  Index rows = 0;
  Index columns = 0;

  [[nodiscard]] constexpr Index size() const { return rows * columns; }
  [[nodiscard]] constexpr Element* row(Index index) const { return data + index * columns; }
  template <std::same_as<const Element> Constant>
    requires(!std::is_const_v<Element>)
  constexpr operator Matrix<Constant>() const {
    return {data, rows, columns};
  }
};

//! The same for reading, as a function's parameter: takes Matrix<Element> and Matrix<const Element> alike, because
//! Element is then deduced from the matrix that the function writes.
template <class Element> using ConstMatrix = std::type_identity_t<Matrix<const Element>>;

}  // namespace moepar
