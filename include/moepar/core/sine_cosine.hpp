// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstdint>
#include <string>

#include <moepar/core/error.hpp>
#include <moepar/core/exponential.hpp>

namespace moepar {

//! Sine and cosine of one angle.
struct SineCosine {
  double sine = 0, cosine = 1;
};

namespace detail {

//! (-1)^i / (2i + 1)!, i = 0..7.
inline constexpr double sine_coefficient[] = {1.0,          -1.0 / 6,        1.0 / 120,        -1.0 / 5040,
                                              1.0 / 362880, -1.0 / 39916800, 1.0 / 6227020800, -1.0 / 1307674368000};

//! (-1)^i / (2i)!, i = 0..8.
inline constexpr double cosine_coefficient[] = {1.0,
                                                -1.0 / 2,
                                                1.0 / 24,
                                                -1.0 / 720,
                                                1.0 / 40320,
                                                -1.0 / 3628800,
                                                1.0 / 479001600,
                                                -1.0 / 87178291200,
                                                1.0 / 20922789888000};

}  // namespace detail

//! Sine and cosine of `angle` in radians, |angle| <= 1e6 (a larger or NaN angle throws Error), absolute error 1.9e-16;
//! a fixed sequence of IEEE operations, meant for tables of rotary embeddings, whose angles are at most the length.
[[nodiscard]] inline SineCosine sincos64(double angle) {
  if (!(std::fabs(angle) <= 1e6))  // written so that NaN is refused too
    throw Error{"moepar::sincos64: the angle is " + std::to_string(angle) +
                ", its range is -1e6..1e6 radians. Fix: reduce the angle, or shorten the sequence."};
  const double n = std::rint(angle * 0x1.45f306dc9c883p-1);  // in quarter turns
  double r = std::fma(-n, 0x1.921fb54442d18p+0, angle);      // pi / 2 in two parts
  r = std::fma(-n, 0x1.1a62633145c07p-54, r);
  const double z = r * r;
  const double sine = r * detail::horner(detail::sine_coefficient, z);
  const double cosine = detail::horner(detail::cosine_coefficient, z);
  switch (static_cast<std::int64_t>(n) & 3) {
    case 0:
      return {sine, cosine};
    case 1:
      return {cosine, -sine};
    case 2:
      return {-sine, -cosine};
    default:
      return {-cosine, sine};
  }
}

}  // namespace moepar
