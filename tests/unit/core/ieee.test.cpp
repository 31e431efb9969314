// SPDX-License-Identifier: Apache-2.0
#include <moepar/core/ieee.hpp>

#include <doctest/doctest.h>

#include <cfenv>
#include <thread>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace {

using doctest::Contains;

//! Runs `body` in a thread of its own, so that its floating-point state cannot leak.
template <class Body> void in_a_thread(Body body) { std::thread{body}.join(); }

TEST_CASE("a thread computes as IEEE 754 says unless somebody changed its state") {
  CHECK_NOTHROW(moepar::require_ieee_arithmetic());
  in_a_thread([] { CHECK_NOTHROW(moepar::require_ieee_arithmetic()); });
}

TEST_CASE("each rounding mode but nearest is refused, and set_ieee_arithmetic repairs it") {
  for (const int mode : {FE_DOWNWARD, FE_UPWARD, FE_TOWARDZERO})
    in_a_thread([mode] {
      std::fesetround(mode);
      CHECK_THROWS_WITH_AS(moepar::require_ieee_arithmetic(),
                           Contains("the rounding mode is not round-to-nearest. Fix: link no object"), moepar::Error);
      moepar::set_ieee_arithmetic();
      CHECK(std::fegetround() == FE_TONEAREST);
      CHECK_NOTHROW(moepar::require_ieee_arithmetic());
    });
}

#if defined(__x86_64__)
TEST_CASE("flush to zero and denormals are zero are refused, each by its name") {
  in_a_thread([] {
    _mm_setcsr(_mm_getcsr() | 0x8000);
    CHECK_THROWS_WITH_AS(moepar::require_ieee_arithmetic(), Contains("flushed to zero (FTZ)"), moepar::Error);
    moepar::set_ieee_arithmetic();
    CHECK((_mm_getcsr() & 0x8040) == 0);
  });
  in_a_thread([] {
    _mm_setcsr(_mm_getcsr() | 0x0040);
    CHECK_THROWS_WITH_AS(moepar::require_ieee_arithmetic(), Contains("read as zero (DAZ)"), moepar::Error);
    moepar::set_ieee_arithmetic();
    CHECK_NOTHROW(moepar::require_ieee_arithmetic());
  });
}
#endif

}  // namespace
