// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>

#include <moepar/core/exponential.hpp>  // IWYU pragma: export
#include <moepar/core/logarithm.hpp>    // IWYU pragma: export
#include <moepar/core/sine_cosine.hpp>  // IWYU pragma: export

// Functions of one float for activations and losses, made of exp32 and log64, so that they have the same bits with
// every compiler, C library and vector width.

namespace moepar {

//! 1 / (1 + e^-x), error 2.5 ulp. 0 at -infinity, 1 at infinity.
[[nodiscard]] inline float sigmoid(float x) { return 1.0f / (1.0f + exp32(-x)); }

//! x sigmoid(x), error 2.9 ulp, NaN at -infinity; also called swish. The result is a product: to add it to something,
//! write std::fma(x, sigmoid(x), sum) or store it first, since a compiler that contracts may otherwise skip its
//! rounding.
[[nodiscard]] inline float silu(float x) { return x * sigmoid(x); }

//! 1 - 2 / (1 + e^2x). Absolute error 1.8e-7; near 0, where the result is small, that is not a small relative error.
[[nodiscard]] inline float tanh(float x) { return 1.0f - 2.0f / (1.0f + exp32(2.0f * x)); }

//! 1 / sqrt(x), two correctly rounded operations (never the approximate instructions, which differ between vendors).
[[nodiscard]] inline float rsqrt(float x) { return 1.0f / std::sqrt(x); }

//! log of a sum of exponentials, from the row's maximum and its sum of exp32(element - maximum).
[[nodiscard]] inline float log_sum_exp(float maximum, float sum) {
  return maximum + static_cast<float>(log64(static_cast<double>(sum)));
}

}  // namespace moepar
