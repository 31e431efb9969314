// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>

#include <moepar/core/exponential.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/logarithm.hpp>
#include <moepar/core/random.hpp>

namespace moepar {
namespace detail {

// Rational approximations of PPND7: numerator and denominator of the middle, then of the tails.
inline constexpr double normal_a[] = {3.3871327179, 50.434271938, 159.29113202, 59.109374720};
inline constexpr double normal_b[] = {1.0, 17.895169469, 78.757757664, 67.187563600};
inline constexpr double normal_c[] = {1.4234372777, 2.7568153900, 1.3067284816, 0.17023821103};
inline constexpr double normal_d[] = {1.0, 0.73700164250, 0.12021132975};

}  // namespace detail

//! One random word as a value of the standard normal distribution, by inversion: Wichura, algorithm AS 241 (PPND7),
//! Applied Statistics 37, 1988. Monotone in the word, range -6.338..6.338, relative error 1.2e-7. One word gives one
//! value without rejection, which is what lets every element be drawn alone.
[[nodiscard]] inline double normal(std::uint32_t word) {
  const double u = uniform(word), q = u - 0.5;
  if (std::fabs(q) <= 0.425) {
    const double r = std::fma(-q, q, 0.180625);
    return q * detail::horner(detail::normal_a, r) / detail::horner(detail::normal_b, r);
  }
  const double r = std::sqrt(-log64(q < 0 ? u : 1.0 - u)) - 1.6;
  const double z = detail::horner(detail::normal_c, r) / detail::horner(detail::normal_d, r);
  return q < 0 ? -z : z;
}

//! One random word as a float of the normal distribution with this mean and standard deviation.
[[nodiscard]] inline float normal_value(std::uint32_t word, double mean, double standard_deviation) {
  return static_cast<float>(std::fma(standard_deviation, normal(word), mean));
}

//! Fills `values` with the elements [first, first + values.size()) of a stream, `first` a flat index in the whole
//! tensor: any slice equals that slice of the whole.
inline void fill_normal(std::span<float> values, RandomKey key, Index step, Index first, double mean,
                        double standard_deviation) {
  const std::size_t count = values.size();
  for (std::size_t done = 0; done < count;) {
    const Index index = first + static_cast<Index>(done);
    const RandomBlock block = random_block(key, step, index >> 2);
    for (Index word = index & 3; word < 4 && done < count; ++word, ++done)
      values[done] = normal_value(block.word[word], mean, standard_deviation);
  }
}

}  // namespace moepar
