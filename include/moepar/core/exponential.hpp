// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>

// The C library's exp differs between libraries, versions and vector widths. These are fixed sequences of IEEE
// operations without a branch: a loop over them inside a function built for AVX2 or AVX-512 becomes vector code with
// the same bits, and hand-written vector code that follows the sequence has them too.

namespace moepar {
namespace detail {

//! coefficient[0] + x coefficient[1] + x^2 coefficient[2] + ..., one fma a step, from the highest power down. Unrolled
//! by recursion, since g++ does not vectorise a loop around a loop.
template <std::size_t First = 0, std::size_t Count, class Real>
[[gnu::always_inline]] inline Real horner(const Real (&coefficient)[Count], Real x) {
  if constexpr (First + 1 == Count)
    return coefficient[First];
  else
    return std::fma(horner<First + 1>(coefficient, x), x, coefficient[First]);
}

//! 2^exponent, for exponents of normal numbers: -126..127.
constexpr float power_of_two32(int exponent) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(exponent + 127) << 23);
}

//! 2^exponent, for exponents of normal numbers: -1022..1023.
constexpr double power_of_two64(int exponent) {
  return std::bit_cast<double>(static_cast<std::uint64_t>(exponent + 1023) << 52);
}

//! (exp(r) - 1 - r) / r^2 for |r| <= log(2) / 2; the polynomial of Cephes' expf (Moshier).
inline constexpr float exp32_coefficient[] = {5.0000001201e-1f, 1.6666665459e-1f, 4.1665795894e-2f,
                                              8.3334519073e-3f, 1.3981999507e-3f, 1.9875691500e-4f};

//! 1/i!, i = 0..13.
inline constexpr double exp64_coefficient[] = {
    1.0,        1.0,         1.0 / 2,      1.0 / 6,       1.0 / 24,       1.0 / 120,       1.0 / 720,
    1.0 / 5040, 1.0 / 40320, 1.0 / 362880, 1.0 / 3628800, 1.0 / 39916800, 1.0 / 479001600, 1.0 / 6227020800};

}  // namespace detail

//! e^x, worst error 1.02 ulp, 0.76 ulp where the result is subnormal. Above 88.73 infinity, below -103.98 zero, NaN
//! stays NaN.
[[nodiscard]] inline float exp32(float x) {
  float bounded = x < -104.0f ? -104.0f : x;  // NaN passes here and through the polynomial, without a branch
  bounded = bounded > 89.0f ? 89.0f : bounded;
  const float n = std::rint(bounded * 0x1.715476p+0f);
  float r = std::fma(n, -0x1.62e4p-1f, bounded);  // log(2) in two parts
  r = std::fma(n, -0x1.7f7d1cp-20f, r);
  const float p = detail::horner(detail::exp32_coefficient, r);
  // Times 2^n in two factors: the first product is exact, so a subnormal result is rounded once.
  const int exponent = static_cast<int>(n > -151.0f ? n : -151.0f), half = exponent >> 1;  // defined for NaN too
  return (std::fma(p, r * r, r) + 1.0f) * detail::power_of_two32(half) * detail::power_of_two32(exponent - half);
}

//! e^x, relative error 1.4e-16. Above 709.8 infinity, below -745.2 zero, NaN stays NaN.
[[nodiscard]] inline double exp64(double x) {
  double bounded = x < -746.0 ? -746.0 : x;
  bounded = bounded > 710.0 ? 710.0 : bounded;
  const double n = std::rint(bounded * 0x1.71547652b82fep+0);
  double r = std::fma(-n, 0x1.62e42fefa39efp-1, bounded);
  r = std::fma(-n, 0x1.abc9e3b39803fp-56, r);
  const int exponent = static_cast<int>(n > -1077.0 ? n : -1077.0), half = exponent >> 1;
  return detail::horner(detail::exp64_coefficient, r) * detail::power_of_two64(half) *
         detail::power_of_two64(exponent - half);
}

}  // namespace moepar
