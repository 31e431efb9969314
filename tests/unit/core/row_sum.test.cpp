// SPDX-License-Identifier: Apache-2.0
#include <moepar/core/row_sum.hpp>

#include <doctest/doctest.h>

#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

using moepar::Index;
using moepar::row_dot;
using moepar::row_max;
using moepar::row_sum;

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

std::vector<float> inverses(std::size_t count, int factor) {
  std::vector<float> row;
  for (std::size_t i = 0; i < count; ++i) row.push_back(1.0f / static_cast<float>(factor * static_cast<int>(i) + 1));
  return row;
}

float dot(const std::vector<float>& a, const std::vector<float>& b) { return row_dot(std::span{a}, std::span{b}); }

TEST_CASE("row_dot: the vectors, and that one chain differs") {
  CHECK(bits(dot(inverses(40, 1), inverses(40, 2))) == 0x3fafdb0e);
  CHECK(bits(dot(inverses(64, 1), inverses(64, 2))) == 0x3fb07319);
  CHECK(bits(dot(inverses(200, 1), inverses(200, 2))) == 0x3fb12046);
  const std::vector<float> a = inverses(200, 1), b = inverses(200, 2);
  float chain = 0;
  for (std::size_t i = 0; i < 200; ++i) chain = std::fma(a[i], b[i], chain);
  CHECK(bits(chain) == 0x3fb12047);
  CHECK(bits(dot({}, {})) == 0);
}

TEST_CASE("row_dot, row_sum and LaneSum follow the definition at every length, in float and double") {
  const auto check = [](auto zero) {
    using Sum = decltype(zero);
    for (std::size_t count = 0; count < 330; ++count) {
      const std::vector<float> a = inverses(count, 3), b = inverses(count, 7), ones(count, 1.0f);
      Sum lane[64] = {};
      moepar::LaneSum<Sum> backwards;  // the lanes are independent: only the order inside a lane counts
      for (std::size_t i = 0; i < count; ++i)
        lane[i % 64] = std::fma(static_cast<Sum>(a[i]), static_cast<Sum>(b[i]), lane[i % 64]);
      for (Index first = 63; first >= 0; --first)
        for (Index i = first; i < static_cast<Index>(count); i += 64)
          backwards.add_product(i, static_cast<Sum>(a[static_cast<std::size_t>(i)]),
                                static_cast<Sum>(b[static_cast<std::size_t>(i)]));
      for (int half = 32; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
      REQUIRE(row_dot<Sum>(std::span{a}, std::span{b}) == lane[0]);
      REQUIRE(backwards.total() == lane[0]);
      REQUIRE(row_sum<Sum>(std::span{a}) == row_dot<Sum>(std::span{a}, std::span{ones}));
    }
  };
  check(0.0f);
  check(0.0);
}

TEST_CASE("row_max finds the largest element, in every place, and prefers a newcomer among equals") {
  for (std::size_t count = 1; count < 200; count += 1 + count / 8)
    for (std::size_t place = 0; place < count; ++place) {
      std::vector<float> row(count, -3.0f);
      row[place] = -1.0f;
      REQUIRE(row_max(std::span{row}) == -1.0f);
    }
  CHECK(row_max(std::span<const float>{}) == -std::numeric_limits<float>::infinity());
  const std::vector<float> zeros{0.0f, -0.0f}, other{-0.0f, 0.0f};
  CHECK(bits(row_max(std::span{zeros})) == 0x80000000);
  CHECK(bits(row_max(std::span{other})) == 0);
  const std::vector<double> wide{1.0, 2.0};
  CHECK(row_max(std::span{wide}) == 2.0);
}

TEST_CASE("rows of different length are refused") {
  const std::vector<float> a(3), b(4);
  CHECK_THROWS_WITH_AS(static_cast<void>(dot(a, b)), doctest::Contains("the rows have 3 and 4 elements"),
                       moepar::Error);
}

}  // namespace
