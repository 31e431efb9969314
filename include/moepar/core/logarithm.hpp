// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>

#include <moepar/core/exponential.hpp>

namespace moepar {
namespace detail {

//! artanh(s) / s as a series in s^2: 1/(2i + 1), i = 0..10.
inline constexpr double log64_coefficient[] = {1.0,      1.0 / 3,  1.0 / 5,  1.0 / 7,  1.0 / 9, 1.0 / 11,
                                               1.0 / 13, 1.0 / 15, 1.0 / 17, 1.0 / 19, 1.0 / 21};

//! condition ? yes : no, by masks: a choice of computed values that no compiler turns into a branch (g++ would then not
//! vectorise the loop around it).
[[gnu::always_inline]] inline double select64(bool condition, double yes, double no) {
  const std::uint64_t mask = condition ? ~std::uint64_t{0} : 0;
  return std::bit_cast<double>((std::bit_cast<std::uint64_t>(yes) & mask) | (std::bit_cast<std::uint64_t>(no) & ~mask));
}

}  // namespace detail

//! Natural logarithm, relative error 4.2e-16; a fixed sequence of IEEE operations. log64(0) = -infinity, of a negative
//! number NaN, of infinity infinity, NaN stays NaN.
[[nodiscard]] inline double log64(double x) {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  const bool subnormal = x < 0x1p-1022;
  const std::uint64_t bits = std::bit_cast<std::uint64_t>(detail::select64(subnormal, x * 0x1p54, x));
  const double mantissa = std::bit_cast<double>((bits & 0xfffffffffffff) | 0x3ff0000000000000);  // 1 <= mantissa < 2
  const bool upper = mantissa > 0x1.6a09e667f3bcdp0;                                             // sqrt(2)
  const double m = detail::select64(upper, mantissa * 0.5, mantissa);                            // x = m 2^exponent
  const int exponent = static_cast<int>(bits >> 52 & 0x7ff) - 1023 + (upper ? 1 : 0) - (subnormal ? 54 : 0);
  const double s = (m - 1.0) / (m + 1.0);  // log(m) = 2 artanh(s), |s| <= 0.172
  const double r = 2.0 * s * detail::horner(detail::log64_coefficient, s * s);
  const double result = std::fma(static_cast<double>(exponent), 0x1.62e42fefa39efp-1, r);
  const double finite = detail::select64(x < infinity, result, x);  // infinity and NaN stay
  const double positive = detail::select64(x < 0.0, std::numeric_limits<double>::quiet_NaN(), finite);
  return detail::select64(x == 0.0, -infinity, positive);
}

}  // namespace moepar
