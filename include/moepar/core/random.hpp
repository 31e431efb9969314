// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string_view>

#include <moepar/core/hash.hpp>
#include <moepar/core/index.hpp>

namespace moepar {

//! Four words of 32 bits: a counter of the generator, or the block of random words that it maps to.
struct RandomBlock {
  std::uint32_t word[4] = {};
  constexpr bool operator==(const RandomBlock&) const = default;
};

//! Key of one stream of random words. Streams of different keys are independent; one key serves 2^64 steps of 2^66
//! words.
struct RandomKey {
  std::uint32_t low = 0, high = 0;
  constexpr bool operator==(const RandomKey&) const = default;
};

//! Philox4x32-10: a keyed bijection on counters (Salmon, Moraes, Dror, Shaw: Parallel random numbers: as easy as 1, 2,
//! 3, SC 2011). No state, so any element can be drawn by any rank in any order.
constexpr RandomBlock philox4x32(RandomBlock counter, RandomKey key) {
  for (int round = 0; round < 10; ++round) {
    const std::uint64_t first = std::uint64_t{0xD2511F53} * counter.word[0];
    const std::uint64_t second = std::uint64_t{0xCD9E8D57} * counter.word[2];
    counter = {
        {static_cast<std::uint32_t>(second >> 32) ^ counter.word[1] ^ key.low, static_cast<std::uint32_t>(second),
         static_cast<std::uint32_t>(first >> 32) ^ counter.word[3] ^ key.high, static_cast<std::uint32_t>(first)}};
    key.low += 0x9E3779B9;
    key.high += 0xBB67AE85;
  }
  return counter;
}

//! The key of the stream `name` of a run. `name` is a parameter's Hugging Face name for initial values, or says what
//! the noise is for ("layers.3.router/jitter"). Two parameters whose keys are equal would start equal: refuse that.
constexpr RandomKey random_key(std::uint64_t seed, std::string_view name) {
  const std::uint64_t key = mix(fnv1a(name) ^ mix(seed));
  return {static_cast<std::uint32_t>(key), static_cast<std::uint32_t>(key >> 32)};
}

//! Words 4 * block .. 4 * block + 3 of a stream at a step. Step 0 is for initial values, training steps count from 1.
constexpr RandomBlock random_block(RandomKey key, Index step, Index block) {
  const auto place = static_cast<std::uint64_t>(block), time = static_cast<std::uint64_t>(step);
  return philox4x32({{static_cast<std::uint32_t>(place), static_cast<std::uint32_t>(place >> 32),
                      static_cast<std::uint32_t>(time), static_cast<std::uint32_t>(time >> 32)}},
                    key);
}

//! Word `index` of a stream at a step. `index` is the element's flat index in the whole tensor, never in a rank's
//! slice; for noise over activations it is (sequence of the batch * length + position) * columns + column.
constexpr std::uint32_t random_word(RandomKey key, Index step, Index index) {
  return random_block(key, step, index >> 2).word[index & 3];
}

//! A random word as a number strictly between 0 and 1: (2 word + 1) / 2^33, exact in double and symmetric about 1/2.
constexpr double uniform(std::uint32_t word) { return (2.0 * word + 1.0) * 0x1p-33; }

}  // namespace moepar
