// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <bit>
#include <cmath>
#include <cstdint>

namespace moepar {

//! A bfloat16 number: the upper half of a float. Storage only; arithmetic is done in float.
struct Bf16 {
  std::uint16_t bits = 0;
  constexpr bool operator==(const Bf16&) const = default;  // of bits: -0 differs from +0, a NaN equals itself
};

//! Exact: every bfloat16 is a float, subnormals included.
[[nodiscard]] constexpr float to_float(Bf16 value) {
  return std::bit_cast<float>(static_cast<std::uint32_t>(value.bits) << 16);
}

//! Rounds to nearest, ties to even; a subnormal input becomes a zero of its sign; NaN stays NaN (quiet). For all inputs
//! but NaN these are the bits of the instruction vcvtneps2bf16. It does not depend on the thread's rounding or flush
//! mode.
[[nodiscard]] constexpr Bf16 to_bf16(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = bits & 0x7fffffff;
  if (magnitude > 0x7f800000) return {static_cast<std::uint16_t>(bits >> 16 | 0x0040)};
  if (magnitude < 0x00800000) return {static_cast<std::uint16_t>(bits >> 16 & 0x8000)};
  return {static_cast<std::uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16)};
}

//! The bits of a value as the tensor hash (hash.hpp) sees them: every NaN is the same one.
constexpr std::uint64_t hashed_bits(Bf16 value) { return (value.bits & 0x7fff) > 0x7f80 ? 0x7fc0 : value.bits; }

namespace detail {

//! A subnormal becomes a zero of its sign, whatever the thread's mode.
constexpr float flush_subnormal(float value) {
  const std::uint32_t bits = std::bit_cast<std::uint32_t>(value);
  return (bits & 0x7fffffff) < 0x00800000 ? std::bit_cast<float>(bits & 0x80000000) : value;
}

//! fma whose subnormal result becomes zero, as hardware flushes it: tiny *after* rounding. `left` and `right` hold
//! bfloat16 numbers and no operand is subnormal. A result of exactly 2^-126 may have been rounded up from below
//! the bound of what hardware keeps, 2^-126 - 2^-151; near there the sum is exact in double, which decides.
inline float flushing_fma(float left, float right, float addend) {
  const float result = std::fma(left, right, addend);
  if (!(std::fabs(result) <= 0x1p-126f)) return result;
  const double exact = std::fma(static_cast<double>(left), static_cast<double>(right), static_cast<double>(addend));
  return std::fabs(exact) < 0x1p-126 - 0x1p-151
             ? std::bit_cast<float>(std::bit_cast<std::uint32_t>(result) & 0x80000000)
             : result;
}

}  // namespace detail

//! Two neighbouring bfloat16 numbers as one 32-bit lane of a vector register holds them.
struct Bf16Pair {
  Bf16 low, high;
};

//! One lane of the instruction vdpbf16ps, bit for bit, on any machine:
//! fma(a.low, b.low, fma(a.high, b.high, sum)), round to nearest, subnormal inputs and results are zero.
//! The reference for kernels without that instruction; needs a thread with IEEE arithmetic (ieee.hpp).
[[nodiscard]] inline float bf16_pair_dot(float sum, Bf16Pair a, Bf16Pair b) {
  const auto operand = [](Bf16 value) { return detail::flush_subnormal(to_float(value)); };
  const float high = detail::flushing_fma(operand(a.high), operand(b.high), detail::flush_subnormal(sum));
  return detail::flushing_fma(operand(a.low), operand(b.low), high);
}

}  // namespace moepar
