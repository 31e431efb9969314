// SPDX-License-Identifier: Apache-2.0
#include <moepar/core/elementary.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <limits>

#include <moepar/core/hash.hpp>

namespace {

using moepar::exp32;
using moepar::exp64;
using moepar::log64;
using moepar::sincos64;

constexpr float infinity32 = std::numeric_limits<float>::infinity();
constexpr double infinity64 = std::numeric_limits<double>::infinity();

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }
std::uint64_t bits(double value) { return std::bit_cast<std::uint64_t>(value); }

//! Distance from the true value in units of the last place of a float there (2^-149 where it is subnormal).
double error32(float value, long double truth) {
  const int exponent = std::ilogb(truth);
  const long double unit = std::ldexp(1.0L, (exponent < -126 ? -126 : exponent) - 23);
  return static_cast<double>(std::fabs(static_cast<long double>(value) - truth) / unit);
}

double relative_error(double value, long double truth) {
  return static_cast<double>(std::fabs((static_cast<long double>(value) - truth) / truth));
}

//! Calls visit with floats of both signs from all exponents.
template <class Visit> void sweep32(std::uint32_t stride, Visit visit) {
  for (std::uint64_t pattern = 0; pattern < 0x7f800000; pattern += stride) {
    visit(std::bit_cast<float>(static_cast<std::uint32_t>(pattern)));
    visit(std::bit_cast<float>(static_cast<std::uint32_t>(pattern) | 0x80000000));
  }
}

TEST_CASE("exp32: the vectors") {
  struct Vector {
    float x;
    std::uint32_t bits;
  };
  for (const Vector v : {Vector{-104.f, 0x00000000},
                         {-100.f, 0x0000001b},
                         {-87.5f, 0x006cb2bc},
                         {-1.f, 0x3ebc5ab2},
                         {-0.1f, 0x3f67a36d},
                         {0.5f, 0x3fd3094c},
                         {1.f, 0x402df854},
                         {10.f, 0x46ac14ee},
                         {88.f, 0x7ef882b7},
                         {89.f, 0x7f800000},
                         {-infinity32, 0},
                         {infinity32, 0x7f800000},
                         {-0.f, 0x3f800000},
                         {0.f, 0x3f800000},
                         {3e38f, 0x7f800000},
                         {-3e38f, 0}}) {
    CAPTURE(v.x);
    CHECK(bits(exp32(v.x)) == v.bits);
  }
  CHECK(std::isnan(exp32(std::numeric_limits<float>::quiet_NaN())));
}

TEST_CASE("log64: the vectors and the edges") {
  CHECK(bits(log64(2)) == 0x3fe62e42fefa39ef);
  CHECK(bits(log64(10)) == 0x40026bb1bbb55515);
  CHECK(bits(log64(1e-9)) == 0xc034b927f32bffb8);
  CHECK(bits(log64(1)) == 0);
  CHECK(log64(0) == -infinity64);
  CHECK(log64(-0.0) == -infinity64);
  CHECK(log64(infinity64) == infinity64);
  CHECK(std::isnan(log64(-1)));
  CHECK(std::isnan(log64(-infinity64)));
  CHECK(std::isnan(log64(std::numeric_limits<double>::quiet_NaN())));
  CHECK(relative_error(log64(0x1p-1074), std::log(0x1p-1074L)) < 1e-15);
}

TEST_CASE("exp64: the vectors and the edges") {
  CHECK(bits(exp64(-1)) == 0x3fd78b56362cef38);
  CHECK(bits(exp64(20)) == 0x41bceb088b68e804);
  CHECK(bits(exp64(-0.0)) == bits(1.0));
  CHECK(exp64(-745.2) == 0);
  CHECK(exp64(-745) == 0x1p-1074);
  CHECK(exp64(709.7) < infinity64);
  CHECK(exp64(709.8) == infinity64);
  CHECK(exp64(infinity64) == infinity64);
  CHECK(bits(exp64(-infinity64)) == 0);
  CHECK(std::isnan(exp64(std::numeric_limits<double>::quiet_NaN())));
}

TEST_CASE("sincos64: the vectors and the range") {
  CHECK(bits(sincos64(1).sine) == 0x3feaed548f090cee);
  CHECK(bits(sincos64(1).cosine) == 0x3fe14a280fb5068c);
  CHECK(bits(sincos64(32767).sine) == 0x3fc80036fa7b61fa);
  CHECK(bits(sincos64(32767).cosine) == 0x3fef6eb38d7d11b4);
  CHECK(sincos64(0).cosine == 1);
  CHECK_THROWS_WITH_AS(static_cast<void>(sincos64(1000001)),
                       doctest::Contains("angle is 1000001.000000, its range is -1e6..1e6"), moepar::Error);
  CHECK_THROWS_AS(static_cast<void>(sincos64(std::numeric_limits<double>::quiet_NaN())), moepar::Error);
}

TEST_CASE("exp32: at most 1.02 ulp") {
  double worst = 0, worst_subnormal = 0;
  const auto visit = [&](float x) {
    if (!(x > -103.9f && x < 88.7f)) return;
    const long double truth = std::exp(static_cast<long double>(x));
    double& slot = truth < 0x1p-126L ? worst_subnormal : worst;
    slot = std::fmax(slot, error32(exp32(x), truth));
  };
  sweep32(9973, visit);
  for (float x = -104; x < 89; x += 0.0011f) visit(x);
  // Measured over every 13th float: 1.0020 and 0.7488.
  INFO("worst error of exp32: ", worst, " ulp, subnormal results ", worst_subnormal);
  CHECK(worst < 1.02);
  CHECK(worst_subnormal < 0.76);
}

TEST_CASE("exp64, log64, sincos64: relative errors at most 1.4e-16 and 4.2e-16, absolute at most 1.9e-16") {
  double exp_worst = 0, log_worst = 0, sincos_worst = 0;
  for (double x = -708; x < 709; x += 0.0083)
    exp_worst = std::fmax(exp_worst, relative_error(exp64(x), std::exp(static_cast<long double>(x))));
  for (double x = -1; x < 1; x += 0.0000217)
    exp_worst = std::fmax(exp_worst, relative_error(exp64(x), std::exp(static_cast<long double>(x))));
  for (double x = 1e-308; x < 1e308; x *= 1.0061)
    log_worst = std::fmax(log_worst, relative_error(log64(x), std::log(static_cast<long double>(x))));
  for (double x = 0.4; x < 2.5; x += 0.0000173)
    if (x != 1) log_worst = std::fmax(log_worst, relative_error(log64(x), std::log(static_cast<long double>(x))));
  const auto sincos = [&](double x) {
    const long double angle = static_cast<long double>(x);
    const moepar::SineCosine got = sincos64(x);
    const long double sine = std::fabs(static_cast<long double>(got.sine) - std::sin(angle));
    const long double cosine = std::fabs(static_cast<long double>(got.cosine) - std::cos(angle));
    sincos_worst = std::fmax(sincos_worst, static_cast<double>(std::fmax(sine, cosine)));
  };
  for (double x = -1e6; x < 1e6; x += 20.000317) sincos(x);
  for (double x = -7; x < 7; x += 0.000143) sincos(x);
  // Measured with strides of 1.7e-8 (exp64, log64) and 1.3e-7 (sincos64): 1.356e-16, 4.166e-16, 1.866e-16.
  INFO("worst errors: exp64 ", exp_worst, ", log64 ", log_worst, ", sincos64 (absolute) ", sincos_worst);
  CHECK(exp_worst < 1.4e-16);
  CHECK(log_worst < 4.2e-16);
  CHECK(sincos_worst < 1.9e-16);
}

TEST_CASE("the bits of whole sweeps: a change of one coefficient or one order shows") {
  const auto mix = [](std::uint64_t value) { return moepar::mix(value); };
  std::uint64_t exp32_hash = 0, log64_hash = 0, exp64_hash = 0, sincos_hash = 0;
  for (std::uint64_t pattern = 0; pattern < 0x100000000; pattern += 65521) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(pattern));
    if (x == x) exp32_hash += mix(mix(pattern) ^ bits(exp32(x)));
  }
  constexpr std::uint64_t stride = 0x00001fffffffffff / 3 * 97;
  for (std::uint64_t pattern = 0x0010000000000000; pattern < 0x7ff0000000000000; pattern += stride)
    log64_hash += mix(mix(pattern) ^ bits(log64(std::bit_cast<double>(pattern))));
  for (int i = -300'000; i < 300'000; ++i) {
    const std::uint64_t place = mix(static_cast<std::uint64_t>(i));
    exp64_hash += mix(place ^ bits(exp64(i * 0x1p-8)));
    const moepar::SineCosine value = sincos64(i * 0x1.804p+1);
    sincos_hash += mix(place ^ bits(value.sine) ^ mix(bits(value.cosine)));
  }
  std::uint64_t log64_near_one = 0;  // where the exponent does not hide the series
  for (std::uint64_t i = 0; i < 393'216; ++i)
    log64_near_one += mix(mix(i) ^ bits(log64(0.5 + static_cast<double>(i) * 0x1p-18)));
  CHECK(log64_near_one == 0x706c2bdf1c87bdcb);
  CHECK(exp32_hash == 0xadbb02454d01cfa0);
  CHECK(log64_hash == 0xcec2e9c5239597ca);
  CHECK(exp64_hash == 0xc78f092008a7883d);
  CHECK(sincos_hash == 0xa2944bb50f758e5f);
}

TEST_CASE("sigmoid, tanh, silu: accuracy and limits") {
  double sigmoid_worst = 0, tanh_worst = 0, silu_worst = 0;
  const auto visit = [&](float x) {
    const long double wide = static_cast<long double>(x);
    const long double truth = 1 / (1 + std::exp(-wide));
    if (x > -87.3f && x < 90) {
      sigmoid_worst = std::fmax(sigmoid_worst, error32(moepar::sigmoid(x), truth));
      if (std::fabs(x) > 1e-30f) silu_worst = std::fmax(silu_worst, error32(moepar::silu(x), wide * truth));
    }
    tanh_worst = std::fmax(tanh_worst,
                           static_cast<double>(std::fabs(static_cast<long double>(moepar::tanh(x)) - std::tanh(wide))));
  };
  sweep32(19937, visit);
  for (float x = -88; x < 90; x += 0.00171f) visit(x);
  for (float x = -9; x < 9; x += 0.00031f) visit(x);
  // Measured over every 13th float: 2.45 ulp, 2.85 ulp, 1.785e-7.
  INFO("worst errors: sigmoid ", sigmoid_worst, " ulp, silu ", silu_worst, " ulp, tanh (absolute) ", tanh_worst);
  CHECK(sigmoid_worst < 2.5);
  CHECK(silu_worst < 2.9);
  CHECK(tanh_worst < 1.8e-7);

  CHECK(moepar::sigmoid(-infinity32) == 0);
  CHECK(moepar::sigmoid(infinity32) == 1);
  CHECK(moepar::tanh(-infinity32) == -1);
  CHECK(moepar::tanh(infinity32) == 1);
  CHECK(std::isnan(moepar::tanh(std::numeric_limits<float>::quiet_NaN())));
  CHECK(std::isnan(moepar::sigmoid(std::numeric_limits<float>::quiet_NaN())));
  CHECK(moepar::rsqrt(4) == 0.5f);
  CHECK(bits(moepar::rsqrt(2)) == bits(1 / std::sqrt(2.0f)));
}

//! Every function over a row, as a loop that compilers vectorise, and element by element as they do not.
struct Outputs {
  float exp32[1004], sigmoid[1004], silu[1004], tanh[1004];  // 1003 and one so that no padding follows
  double exp64[1003], log64[1003];
  bool operator==(const Outputs& other) const { return std::memcmp(this, &other, sizeof(Outputs)) == 0; }  // bits
};
[[gnu::always_inline]] inline void evaluate(const float* x, int count, Outputs& out) {
  for (int i = 0; i < count; ++i) out.exp32[i] = exp32(x[i]);
  for (int i = 0; i < count; ++i) out.sigmoid[i] = moepar::sigmoid(x[i]);
  for (int i = 0; i < count; ++i) out.silu[i] = moepar::silu(x[i]);
  for (int i = 0; i < count; ++i) out.tanh[i] = moepar::tanh(x[i]);
  for (int i = 0; i < count; ++i) out.exp64[i] = exp64(8.0 * static_cast<double>(x[i]));
  for (int i = 0; i < count; ++i) out.log64[i] = log64(std::fabs(static_cast<double>(x[i])));
}
[[gnu::noinline]] void evaluate_portable(const float* x, int count, Outputs& out) { evaluate(x, count, out); }
#if defined(__x86_64__)
[[gnu::noinline, gnu::target("avx2,fma")]] void evaluate_avx2(const float* x, int count, Outputs& out) {
  evaluate(x, count, out);
}
[[gnu::noinline, gnu::target("avx512f,avx512dq,avx512vl,fma")]] void evaluate_avx512(const float* x, int count,
                                                                                     Outputs& out) {
  evaluate(x, count, out);
}

TEST_CASE("loops have the same bits on every instruction path, bodies and tails") {
  static float x[1003];
  static Outputs portable, vector;
  for (int i = 0; i < 1003; ++i) x[i] = (static_cast<float>(i) - 501.3f) * (i % 7 == 0 ? 0.21f : 0.013f);
  x[3] = 1e-41f, x[4] = infinity32, x[5] = -3e38f, x[6] = 0;
  for (const int count : {1003, 31, 1}) {
    portable = vector = {};
    evaluate_portable(x, count, portable);
    if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) {
      evaluate_avx2(x, count, vector);
      CHECK(portable == vector);
    }
    if (__builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")) {
      vector = {};
      evaluate_avx512(x, count, vector);
      CHECK(portable == vector);
    }
  }
}
#endif

TEST_CASE("log_sum_exp: the maximum carries the scale") {
  CHECK(moepar::log_sum_exp(1000, 1) == 1000);
  CHECK(bits(moepar::log_sum_exp(0, 2)) == bits(static_cast<float>(log64(2))));
  CHECK(moepar::log_sum_exp(3, std::numeric_limits<float>::infinity()) == infinity32);
}

}  // namespace
