// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>

namespace moepar {

//! Every count, size, rank and byte number of the library. 64 bits, signed, so that differences are safe.
using Index = std::int64_t;

namespace detail {

//! Whether `value` splits into `divisor` equal parts; both must be at least 1.
constexpr bool divides(Index divisor, Index value) { return divisor >= 1 && value >= 1 && value % divisor == 0; }

//! value / divisor where that is whole, else 1: a harmless answer after a rule was broken and reported.
constexpr Index quotient_or_one(Index value, Index divisor) { return divides(divisor, value) ? value / divisor : 1; }

//! `value` where it is a size, else 1: lets a class with a broken size, already reported, keep its shape.
constexpr Index size_or_one(Index value) { return value >= 1 && value <= (Index{1} << 31) ? value : 1; }

//! Smallest number of parts of `divisor` that hold `value`; both not negative, divisor at least 1.
constexpr Index ceil_div(Index value, Index divisor) { return value / divisor + (value % divisor != 0 ? 1 : 0); }

}  // namespace detail

//! Byte units for memory limits: `2_GiB` is 2^31 bytes, `80_GB` is 80 * 10^9 bytes.
inline namespace literals {

consteval Index operator""_KiB(unsigned long long count) { return static_cast<Index>(count) << 10; }
consteval Index operator""_MiB(unsigned long long count) { return static_cast<Index>(count) << 20; }
consteval Index operator""_GiB(unsigned long long count) { return static_cast<Index>(count) << 30; }
consteval Index operator""_MB(unsigned long long count) { return static_cast<Index>(count) * 1'000'000; }
consteval Index operator""_GB(unsigned long long count) { return static_cast<Index>(count) * 1'000'000'000; }

}  // namespace literals
}  // namespace moepar
