// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>
#include <moepar/core/elementary.hpp>
#include <moepar/core/exponential.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/logarithm.hpp>
#include <moepar/core/row_sum.hpp>
#if defined(__SSE2__)
#include <emmintrin.h>
#endif

// The elementary functions by the element's type: float is the contract, double is for gradients checked in 64 bits.
namespace moepar::cpu::detail {

//! condition ? yes : no, by masks. g++ moves the arithmetic behind a choice between constants into its branches, and
//! then vectorises the loop around it for AVX-512 alone.
[[gnu::always_inline]] inline float select32(bool condition, float yes, float no) {
  const std::uint32_t mask = condition ? ~std::uint32_t{0} : 0;
  return std::bit_cast<float>((std::bit_cast<std::uint32_t>(yes) & mask) | (std::bit_cast<std::uint32_t>(no) & ~mask));
}

//! The operations of moepar::exp32, so its bits, in a form that becomes vector code for AVX2 too.
[[gnu::always_inline]] inline float exp_of(float x) {
  const float above = select32(x < -104.0f, -104.0f, x), bounded = select32(above > 89.0f, 89.0f, above);
  const float n = std::rint(bounded * 0x1.715476p+0f);
  float r = std::fma(n, -0x1.62e4p-1f, bounded);
  r = std::fma(n, -0x1.7f7d1cp-20f, r);
  const float p = moepar::detail::horner(moepar::detail::exp32_coefficient, r);
  const int exponent = static_cast<int>(select32(n > -151.0f, n, -151.0f)), half = exponent >> 1;
  return (std::fma(p, r * r, r) + 1.0f) * moepar::detail::power_of_two32(half) *
         moepar::detail::power_of_two32(exponent - half);
}
[[gnu::always_inline]] inline double exp_of(double x) { return exp64(x); }

[[gnu::always_inline]] inline float sigmoid_of(float x) { return 1.0f / (1.0f + exp_of(-x)); }
[[gnu::always_inline]] inline double sigmoid_of(double x) { return 1.0 / (1.0 + exp64(-x)); }

[[gnu::always_inline]] inline float log_sum_exp_of(float maximum, float sum) {
  return maximum + static_cast<float>(log64(static_cast<double>(sum)));
}
[[gnu::always_inline]] inline double log_sum_exp_of(double maximum, double sum) { return maximum + log64(sum); }

//! values[i] = sqrt(values[i]) for row_lanes values. std::sqrt sets errno, so compilers do not vectorise it; these
//! instructions, which every x86-64 has, round correctly too.
[[gnu::always_inline]] inline void take_roots(float (&values)[row_lanes]) {
#if defined(__SSE2__)
  for (Index i = 0; i < row_lanes; i += 4) _mm_storeu_ps(values + i, _mm_sqrt_ps(_mm_loadu_ps(values + i)));
#else
  for (float& value : values) value = std::sqrt(value);
#endif
}

}  // namespace moepar::cpu::detail
