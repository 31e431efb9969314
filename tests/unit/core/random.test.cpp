// SPDX-License-Identifier: Apache-2.0
#include <moepar/core/random.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <moepar/core/normal.hpp>

namespace {

using moepar::Index;
using moepar::normal;
using moepar::RandomBlock;
using moepar::RandomKey;

constexpr const char* name = "model.layers.0.block_sparse_moe.experts.3.w1.weight";
constexpr RandomKey key = moepar::random_key(1234, name);
constexpr Index far = Index{1} << 33;  // beyond 32 bits: word 0 of block 2^31

// The published vectors of Philox4x32-10.
static_assert(moepar::philox4x32({}, {}) == RandomBlock{{0x6627e8d5, 0xe169c58d, 0xbc57ac4c, 0x9b00dbd8}});
static_assert(moepar::philox4x32({{0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff}}, {0xffffffff, 0xffffffff}) ==
              RandomBlock{{0x408f276d, 0x41c83b0e, 0xa20bc7c6, 0x6d5451fd}});
static_assert(moepar::philox4x32({{0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344}}, {0xa4093822, 0x299f31d0}) ==
              RandomBlock{{0xd16cfe09, 0x94fdcceb, 0x5001e420, 0x24126ea1}});

static_assert(key == RandomKey{0x9a614649, 0x7ccb3bd8});
static_assert(moepar::random_block(key, 0, 0) == RandomBlock{{0xc7070298, 0x647759be, 0xe5fef0f5, 0xe567cbbf}});
static_assert(moepar::random_word(key, 0, 4) == 0x0fe12b63);
static_assert(moepar::random_word(key, 0, far) == 0x855f9e16);
static_assert(moepar::random_word(key, 7, 5) == 0xda12813d);
// The counter takes all 64 bits of the block and of the step.
static_assert(moepar::random_block({1, 2}, (Index{3} << 32) + 4, (Index{5} << 32) + 6) ==
              moepar::philox4x32({{6, 5, 4, 3}}, {1, 2}));
static_assert(moepar::random_word({1, 2}, 0, (Index{1} << 34) + 2) ==
              moepar::philox4x32({{0, 1, 0, 0}}, {1, 2}).word[2]);
static_assert(moepar::uniform(0) == 0x1p-33 && moepar::uniform(0xffffffff) == 1.0 - 0x1p-33);

std::uint64_t bits(double value) { return std::bit_cast<std::uint64_t>(value); }
std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

TEST_CASE("normal: the vectors") {
  CHECK(bits(normal(0x00000000)) == 0xc0195a11830fcb45);
  CHECK(bits(normal(0x10000000)) == 0xbff88bc1d141c23a);
  CHECK(bits(normal(0x7fffffff)) == 0xbdf40d932f59411c);
  CHECK(bits(normal(0x80000000)) == 0x3df40d932f59411c);
}

TEST_CASE("normal: the bits of a sweep over all words") {
  std::uint64_t hash = 0;
  for (std::uint64_t word = 0; word < 0x100000000; word += 65521)
    hash += moepar::mix(moepar::mix(word) ^ bits(normal(static_cast<std::uint32_t>(word))));
  CHECK(hash == 0x4acfaabd1f77d779);
}

TEST_CASE("initial values: the vectors, element 2^33 included") {
  const std::uint32_t expected[] = {0x3c7a3868, 0xbbb2e145, 0x3cd08108, 0x3cce648a, 0xbcfbfa96};
  float values[5], element[1];
  moepar::fill_normal(values, key, 0, 0, 0.0, 0.02);
  for (int i = 0; i < 5; ++i) CHECK(bits(values[i]) == expected[i]);
  moepar::fill_normal(element, key, 0, far, 0.0, 0.02);
  CHECK(bits(element[0]) == 0x3a89fd7c);
}

TEST_CASE("any slice equals that slice of the whole") {
  std::vector<float> whole(70);
  moepar::fill_normal(whole, key, 3, far - 30, 0.5, 2.0);
  for (std::size_t first = 0; first < 9; ++first)
    for (std::size_t count = 0; count + first <= whole.size(); count += 1 + count / 4) {
      std::vector<float> slice(count);
      moepar::fill_normal(slice, key, 3, far - 30 + static_cast<Index>(first), 0.5, 2.0);
      for (std::size_t i = 0; i < count; ++i) REQUIRE(bits(slice[i]) == bits(whole[first + i]));
    }
  for (std::size_t i = 0; i < whole.size(); ++i) {
    const std::uint32_t word = moepar::random_word(key, 3, far - 30 + static_cast<Index>(i));
    REQUIRE(bits(whole[i]) == bits(static_cast<float>(std::fma(2.0, normal(word), 0.5))));
  }
}

TEST_CASE("normal inverts the distribution function: relative error at most 1.2e-7, odd about the middle, monotone") {
  const auto error = [](std::uint32_t word) {
    // Newton's step from z towards the true quantile, relative to z; in the lower half, where erfc loses nothing.
    const double z = normal(word);
    const long double value = static_cast<long double>(z), u = (2.0L * word + 1.0L) * 0x1p-33L;
    const long double below = std::erfc(-value / std::sqrt(2.0L)) / 2;
    const long double density = std::exp(-value * value / 2) / std::sqrt(2 * 3.14159265358979323846264338327950288L);
    return static_cast<double>(std::fabs((below - u) / density / value));
  };
  double worst = 0, before = -7;
  for (std::uint64_t word = 0; word < 0x80000000; word += 9973) {
    const auto low = static_cast<std::uint32_t>(word);
    worst = std::fmax(worst, error(low));
    REQUIRE(normal(low) >= before);
    REQUIRE(bits(-normal(low)) == bits(normal(~low)));
    before = normal(low);
  }
  for (std::uint32_t word = 0; word < 40'000; ++word) worst = std::fmax(worst, error(word));  // the far tail
  INFO("worst relative error of normal: ", worst);  // measured over every 211th word and the first million: 1.173e-7
  CHECK(worst < 1.2e-7);
}

TEST_CASE("mean and variance of a long stream") {
  double sum = 0, squares = 0;
  constexpr Index count = 200'000;
  for (Index i = 0; i < count; ++i) {
    const double z = normal(moepar::random_word(key, 1, i));
    sum += z;
    squares = std::fma(z, z, squares);
  }
  CHECK(std::fabs(sum / count) < 4 / std::sqrt(static_cast<double>(count)));
  CHECK(std::fabs(squares / count - 1) < 4 * std::sqrt(2.0 / count));
}

}  // namespace
