// SPDX-License-Identifier: Apache-2.0
#include <moepar/core/bf16.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include <moepar/core/random.hpp>

namespace {

using moepar::Bf16;
using moepar::Bf16Pair;
using moepar::to_bf16;
using moepar::to_float;

constexpr std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }
constexpr float float_of(std::uint32_t pattern) { return std::bit_cast<float>(pattern); }
constexpr Bf16Pair pair_of(std::uint32_t word) {
  return {{static_cast<std::uint16_t>(word)}, {static_cast<std::uint16_t>(word >> 16)}};
}
std::uint32_t dot(std::uint32_t sum, std::uint32_t a, std::uint32_t b) {
  return bits(moepar::bf16_pair_dot(float_of(sum), pair_of(a), pair_of(b)));
}
std::uint32_t random(moepar::Index step, moepar::Index index) {
  return moepar::random_word(moepar::random_key(11, "bf16"), step, index);
}

static_assert(to_bf16(1.0f).bits == 0x3f80 && to_float(Bf16{0xc040}) == -3.0f);
static_assert(to_bf16(float_of(0x3f808000)).bits == 0x3f80, "a tie goes to even");
static_assert(to_bf16(float_of(0x3f818000)).bits == 0x3f82, "a tie goes to even");
static_assert(to_bf16(float_of(0x3f808001)).bits == 0x3f81);
static_assert(to_bf16(float_of(0x7f7fffff)).bits == 0x7f80, "too large: infinity");
static_assert(to_bf16(float_of(0x807fffff)).bits == 0x8000, "subnormal: zero of its sign");
static_assert(to_bf16(float_of(0x00800000)).bits == 0x0080);
static_assert((to_bf16(float_of(0x7f800001)).bits & 0x7fff) == 0x7fc0, "a NaN in the low bits stays NaN");

TEST_CASE("all 2^16 values: widening is exact and narrowing returns to them") {
  for (std::uint32_t pattern = 0; pattern < 0x10000; ++pattern) {
    const Bf16 value{static_cast<std::uint16_t>(pattern)};
    const std::uint32_t magnitude = pattern & 0x7fff;
    REQUIRE(bits(to_float(value)) == pattern << 16);
    if (magnitude > 0x7f80)
      REQUIRE(to_bf16(to_float(value)).bits == (pattern | 0x40));
    else if (magnitude < 0x80)
      REQUIRE(to_bf16(to_float(value)).bits == (pattern & 0x8000));
    else
      REQUIRE(to_bf16(to_float(value)) == value);
  }
}

TEST_CASE("rounding against a reference in double") {
  for (std::uint64_t pattern = 0x00800000; pattern < 0x7f7f8000; pattern += 4057)
    for (const std::uint32_t sign : {0u, 0x80000000u}) {
      const float value = float_of(static_cast<std::uint32_t>(pattern) | sign);
      const double wide = static_cast<double>(value), unit = std::ldexp(1.0, std::ilogb(value) - 7);
      const double expected = std::rint(wide / unit) * unit;  // both steps exact but rint: to nearest, ties to even
      REQUIRE(static_cast<double>(to_float(to_bf16(value))) == expected);
    }
}

TEST_CASE("one lane of vdpbf16ps: the vectors") {
  CHECK(dot(0x40eb2805, 0x3f0c3fd2, 0x3fbb3c67) == 0x4102bb41);  // the low product first: 4102bb42
  CHECK(dot(0x42911c5e, 0x3bd73fd9, 0x3fa33dd5) == 0x42917aec);  // 42917aeb
  CHECK(dot(0x3c84b05e, 0x3f883fac, 0x3fec3f05) == 0x402b1760);  // 402b1761
}

TEST_CASE("subnormal operands and results are zero, tiny is judged after rounding") {
  CHECK(dot(0x00000001, 0, 0) == 0);
  CHECK(dot(0x80000001, 0, 0x80000000) == 0x00000000);           // -0 + (+0 * -0) + (+0 * +0): the last product is +0
  CHECK(dot(0, 0x00000001, 0x00007f00) == 0);                    // a subnormal times a large number
  CHECK(dot(0, 0x00000080, 0x00003f00) == 0);                    // 2^-126 / 2
  CHECK(dot(0x80800000, 0x00000080, 0x00003f80) == 0);           // exact cancellation
  CHECK(dot(0x00800000, 0x00008080, 0x00003200) == 0x00800000);  // 2^-126 - 2^-153 rounds to 2^-126: kept
  CHECK(dot(0x00800000, 0x00008080, 0x00003300) == 0x00800000);  // 2^-126 - 2^-151: a tie, to even, kept
  CHECK(dot(0x00800000, 0x00008080, 0x00003301) == 0x00000000);  // 2^-126 - 1.01 * 2^-151: tiny
  CHECK(dot(0x80800000, 0x00000080, 0x00003301) == 0x80000000);
}

#if defined(__x86_64__)
[[gnu::target("avx512bf16,avx512f,avx512vl")]] void hardware_dot(const std::uint32_t* a, const std::uint32_t* b,
                                                                 const float* sum, float* result) {
  const __m512i left = _mm512_loadu_si512(a), right = _mm512_loadu_si512(b);
  _mm512_storeu_ps(result, _mm512_dpbf16_ps(_mm512_loadu_ps(sum), (__m512bh)left, (__m512bh)right));
}

[[gnu::target("avx512bf16,avx512f,avx512vl")]] void hardware_round(const float* values, std::uint16_t* result) {
  _mm256_storeu_si256(reinterpret_cast<__m256i*>(result), (__m256i)_mm512_cvtneps_pbh(_mm512_loadu_ps(values)));
}

bool same(std::uint32_t a, std::uint32_t b) {
  const bool nan_a = (a & 0x7fffffff) > 0x7f800000, nan_b = (b & 0x7fffffff) > 0x7f800000;
  return a == b || (nan_a && nan_b);
}

TEST_CASE("the emulation equals the instructions, where the CPU has them") {
  if (!__builtin_cpu_supports("avx512bf16")) {
    MESSAGE("this CPU has no avx512bf16: the emulation was not compared with the instructions");
    return;
  }
  // A word of one of several kinds. Exponents of 1 (2^-126) to 30 reach tiny sums; kind 4 aims at the bound of
  // tininess.
  const auto operand = [](int kind, std::uint32_t word) -> std::uint32_t {
    switch (kind) {
      case 0:
        return word;  // any bits: NaN, infinity, subnormals
      case 1:
        return (word & 0x807f807f) | 0x3f803f80;  // magnitudes near 1
      case 2:
        return (word & 0x807f807f) | ((word >> 3 & 0x0f800f80) + 0x1c001c00);  // products around 2^-126
      case 3:
        return word & 0x81ff81ff;  // smallest exponents, subnormals
      default:
        return (word & 0x807f807f) | ((word & 0x3f003f00) + 0x08000800);
    }
  };
  const auto addend = [](int kind, std::uint32_t word) -> std::uint32_t {
    switch (kind) {
      case 0:
        return word;
      case 1:
        return (word & 0x80ffffff) | 0x3f000000;
      case 2:
        return (word & 0x80ffffff) | (word & 0x01000000);
      case 3:
        return word & 0x81ffffff;
      default:
        return (word & 0x80000000) | (0x00800000 + (word >> 8 & 0x3));
    }
  };
  for (int kind = 0; kind < 5; ++kind) {
    std::uint32_t a[16], b[16];
    float sum[16], result[16];
    unsigned differences = 0, zeros = 0;
    for (moepar::Index block = 0; block < 12'000; ++block) {
      for (int lane = 0; lane < 16; ++lane) {
        const moepar::Index index = (block * 16 + lane) * 4;
        a[lane] = operand(kind, random(kind, index));
        b[lane] = operand(kind, random(kind, index + 1));
        sum[lane] = float_of(addend(kind, random(kind, index + 2)));
      }
      hardware_dot(a, b, sum, result);
      for (int lane = 0; lane < 16; ++lane) {
        differences += same(bits(result[lane]), dot(bits(sum[lane]), a[lane], b[lane])) ? 0u : 1u;
        zeros += result[lane] == 0 ? 1u : 0u;
      }
    }
    CAPTURE(kind);
    CAPTURE(zeros);
    CHECK(differences == 0);
  }

  // Sums of 2^-126 (or its neighbour) and a product around -2^-151, where flushing after rounding decides.
  unsigned differences = 0, kept = 0, flushed = 0;
  for (std::uint32_t exponent = 6; exponent < 96; ++exponent)
    for (std::uint32_t mantissa = 0; mantissa < 0x80; ++mantissa) {
      std::uint32_t a[16] = {}, b[16] = {};
      float sum[16] = {}, result[16];
      for (std::uint32_t lane = 0; lane < 16; ++lane) {
        a[lane] = 0x8000 | exponent << 7 | mantissa;
        b[lane] = (99 + (lane >> 1) - exponent) << 7 | (mantissa % 3 == 0 ? mantissa / 3 : 0);
        sum[lane] = float_of(0x00800000 + (lane & 1));
      }
      hardware_dot(a, b, sum, result);
      for (std::uint32_t lane = 0; lane < 16; ++lane) {
        differences += same(bits(result[lane]), dot(bits(sum[lane]), a[lane], b[lane])) ? 0u : 1u;
        kept += bits(result[lane]) == 0x00800000 ? 1u : 0u;
        flushed += bits(result[lane]) == 0 ? 1u : 0u;
      }
    }
  CHECK(differences == 0);
  CHECK(kept > 1000);
  CHECK(flushed > 1000);

  unsigned rounding_differences = 0;
  for (std::uint64_t first = 0; first < 0x100000000; first += 16 * 4057) {
    float values[16];
    std::uint16_t rounded[16];
    for (std::uint32_t lane = 0; lane < 16; ++lane)
      values[lane] = float_of(static_cast<std::uint32_t>(first) + lane * 4057);
    hardware_round(values, rounded);
    for (int lane = 0; lane < 16; ++lane)
      rounding_differences += values[lane] == values[lane] && to_bf16(values[lane]).bits != rounded[lane] ? 1u : 0u;
  }
  CHECK(rounding_differences == 0);
}
#endif

}  // namespace
