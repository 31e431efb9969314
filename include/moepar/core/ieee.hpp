// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <bit>
#include <cfenv>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <string>

#include <moepar/core/error.hpp>

// Every result of this library has the same bits on every layout of ranks. A compiler that may reorder sums cannot give
// that, so it is refused here where it leaves a macro, and by require_ieee_arithmetic() where it leaves none.
#if defined(__FAST_MATH__) || defined(__ASSOCIATIVE_MATH__) || defined(__RECIPROCAL_MATH__) ||      \
    defined(__NO_SIGNED_ZEROS__) || (defined(__FINITE_MATH_ONLY__) && __FINITE_MATH_ONLY__ != 0) || \
    (defined(__GCC_IEC_559) && __GCC_IEC_559 == 0)
#error \
    "moepar: fast math changes results from one build and one layout to the next. Fix: compile without -ffast-math, -Ofast, -funsafe-math-optimizations and their parts; -O3 -march=native is enough for speed."
#endif
#if FLT_EVAL_METHOD != 0
#error \
    "moepar: float arithmetic must be evaluated in float. Fix: compile without -mfpmath=387, -ffast-math, -fassociative-math and -freciprocal-math."
#endif

namespace moepar {
namespace detail {

//! What is wrong with an arithmetic (a clause for a sentence) and what to do about it; no text: nothing is wrong.
struct ArithmeticFault {
  const char* what = nullptr;
  const char* fix = nullptr;
};

// Inlined, so that it runs with the flags of the file that asks. `volatile` hides the values from the optimiser, which
// would otherwise compute the right answers at compile time. Zeros are told apart by their bits: under "denormals are
// zero" a comparison would call a subnormal equal to 0.
[[gnu::always_inline]] inline ArithmeticFault arithmetic_fault() noexcept {
  const volatile float negative_zero = -0.0f, one = 1.0f, large = 0x1p24f, minus_large = -0x1p24f;
  const volatile float three_quarters = 0x1.8p-24f, quarter = 0x1p-25f;
  const volatile float smallest_normal = 0x1p-126f, subnormal = 0x1p-149f, two = 2.0f, five = 5.0f;
  const volatile float fused = 0x1.000002p0f, minus_square = -0x1.000004p0f;
  constexpr const char* flags =
      "compile every file without -ffast-math, -fassociative-math, -fno-signed-zeros, -freciprocal-math";
  constexpr const char* state =
      "link no object built with -ffast-math, change no floating-point mode, or call moepar::set_ieee_arithmetic() "
      "at the start of the thread";

  const float up = one + three_quarters, down = one + quarter;
  if (up != 0x1.000002p0f || down != 1.0f) return {"the rounding mode is not round-to-nearest", state};
  const float flushed = smallest_normal * 0.5f;
  if (std::bit_cast<std::uint32_t>(flushed) == 0) return {"subnormal results are flushed to zero (FTZ)", state};
  const float widened = subnormal * 0x1p30f;
  if (std::bit_cast<std::uint32_t>(widened) == 0) return {"subnormal operands are read as zero (DAZ)", state};
  const float sum_two_loads = (large + one) + minus_large;
  const float copy = large, addend = one;
  const float sum_one_load = (copy + addend) - copy;
  if (sum_two_loads != 0.0f || sum_one_load != 0.0f) return {"(2^24 + 1) - 2^24 is not 0 (sums are reordered)", flags};
  const float zero = negative_zero + 0.0f;
  if (std::bit_cast<std::uint32_t>(zero) != 0) return {"-0.0f + 0.0f is not +0.0f (signed zeros are off)", flags};
  const float quotient = five / 3.0f;
  if (quotient != 0x1.aaaaaap0f) return {"5.0f / 3.0f is not rounded once (division by reciprocals)", flags};
  const float root = std::sqrt(two);
  if (root != 0x1.6a09e6p0f) return {"sqrt(2.0f) is not rounded correctly", flags};
  const float fma = std::fma(fused, fused, minus_square);
  if (fma != 0x1p-46f) return {"std::fma rounds its product", "use a C library whose fma is fused"};
  return {};
}

[[noreturn]] inline void throw_arithmetic_fault(const ArithmeticFault& fault) {
  throw Error{std::string{"moepar: floating-point arithmetic is not IEEE 754 in this thread: "} + fault.what +
              ". Fix: " + fault.fix + '.'};
}

}  // namespace detail

//! Throws Error, naming the fault and its remedy, unless the calling thread computes as IEEE 754 says: round to
//! nearest, subnormals kept, no reordered sums, fused fma. Costs about 20 ns; call it at the start of every thread,
//! since rounding and flush modes belong to a thread. It sees the flags of the file that calls it, not those of other
//! files.
[[gnu::always_inline]] inline void require_ieee_arithmetic() {
  if (const detail::ArithmeticFault fault = detail::arithmetic_fault(); fault.what != nullptr)
    detail::throw_arithmetic_fault(fault);
}

//! Sets the calling thread to the default floating-point environment (round to nearest, subnormals kept, no traps) and
//! then requires IEEE arithmetic. For threads whose state somebody else may have changed.
[[gnu::always_inline]] inline void set_ieee_arithmetic() {
  std::fesetenv(FE_DFL_ENV);
  require_ieee_arithmetic();
}

}  // namespace moepar
