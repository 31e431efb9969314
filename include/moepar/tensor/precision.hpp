// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/core/precision.hpp>

namespace moepar {

//! Bytes that one parameter costs between two steps with AdamW (first and second moment, and the master copy if any).
struct BytesPerParameter {
  Index weight = 0;
  Index gradient = 0;
  Index optimizer = 0;
  [[nodiscard]] constexpr Index total() const { return weight + gradient + optimizer; }
};

constexpr BytesPerParameter bytes_per_parameter(Precision precision) {
  return precision == Precision::f32 ? BytesPerParameter{.weight = 4, .gradient = 4, .optimizer = 8}
                                     : BytesPerParameter{.weight = 2, .gradient = 4, .optimizer = 12};
}

//! Bytes of an element of weights and activations, in memory and on the wire.
constexpr Index compute_bytes(Precision precision) { return bytes_per_parameter(precision).weight; }

//! Bytes of an element of a gradient, in memory and on the wire: parts are added in 32 bits.
inline constexpr Index gradient_bytes = 4;

}  // namespace moepar
