// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <bit>
#include <cstdint>

#include <moepar/core/index.hpp>
#include <moepar/core/random.hpp>

namespace moepar {

//! Random permutations of 0..size-1, one for each (key, epoch), without a table: any element of any epoch is computed
//! alone, in O(1) time and memory, so a run resumes anywhere and ranks agree without a message. A Feistel network whose
//! round function is Philox permutes the smallest square of a power of two that holds `size`; elements that fall
//! outside are walked on along their cycle (Black and Rogaway: Ciphers with arbitrary finite domains, CT-RSA 2002),
//! fewer than four times on average.
class KeyedPermutation {
 public:
  //! `size` is 1..2^62.
  constexpr KeyedPermutation(RandomKey key, Index size)
      : key_{key},
        size_{size},
        half_bits_{(static_cast<int>(std::bit_width(static_cast<std::uint64_t>(size - 1))) + 1) / 2} {}

  [[nodiscard]] constexpr Index size() const { return size_; }

  //! Where `index`, 0..size-1, goes in `epoch`.
  [[nodiscard]] constexpr Index operator()(Index epoch, Index index) const {
    auto value = static_cast<std::uint64_t>(index);
    do value = shuffled(epoch, value);
    while (value >= static_cast<std::uint64_t>(size_));
    return static_cast<Index>(value);
  }

 private:
  // Domains of a few bits need more than the customary four rounds to look random.
  static constexpr std::uint32_t rounds = 8;

  [[nodiscard]] constexpr std::uint64_t shuffled(Index epoch, std::uint64_t value) const {
    const std::uint32_t mask = static_cast<std::uint32_t>((std::uint64_t{1} << half_bits_) - 1);
    auto left = static_cast<std::uint32_t>(value >> half_bits_), right = static_cast<std::uint32_t>(value) & mask;
    for (std::uint32_t round = 0; round < rounds; ++round) {
      const std::uint32_t word = philox4x32({{right, round, static_cast<std::uint32_t>(epoch),
                                              static_cast<std::uint32_t>(static_cast<std::uint64_t>(epoch) >> 32)}},
                                            key_)
                                     .word[0];
      const std::uint32_t next = left ^ (word & mask);
      left = right;
      right = next;
    }
    return static_cast<std::uint64_t>(left) << half_bits_ | right;
  }

  RandomKey key_;
  Index size_;
  int half_bits_;
};

}  // namespace moepar
