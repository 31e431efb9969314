// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>

namespace moepar {

//! One tensor of a model: its global shape (row-major; a vector has one row) and, once bound, where a rank keeps it.
//! Values live with the rank: module code asks `rank.weights(parameter)` and `rank.gradient(parameter)`.
struct Parameter {
  Index rows = 1;
  Index columns = 1;
  Index offset = -1;  //!< first element in the rank's storage; -1: not bound

  [[nodiscard]] constexpr Index size() const { return rows * columns; }
};

}  // namespace moepar
