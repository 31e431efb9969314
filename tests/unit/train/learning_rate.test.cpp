// SPDX-License-Identifier: Apache-2.0
#include <moepar/train/learning_rate.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numbers>

#include <moepar/core/error.hpp>

namespace {

using moepar::Index;
using moepar::WarmupCosine;

static_assert(moepar::learning_rate_schedule<WarmupCosine> && moepar::learning_rate_schedule<moepar::Constant>);

TEST_CASE("the schedule of the SageMaker Mixtral example") {
  const WarmupCosine schedule{.peak = 1e-4, .floor = 1e-5, .warmup_steps = 0.0032 * 47683, .total_steps = 47683};
  const auto expect = [&](Index step, double rate) { CHECK(schedule.at(step) == doctest::Approx(rate).epsilon(1e-9)); };
  CHECK(schedule.at(0) == 0.0);
  expect(1, 6.553698383e-07);
  expect(100, 6.553698383e-05);
  expect(152, 9.961621542e-05);
  expect(153, 9.9999999981e-05);
  expect(1000, 9.992209031e-05);
  expect(23841, 5.050429340e-05);
  for (const Index step : {40000, 47683, 47836, 95366, 1000000}) CHECK(schedule.at(step) == 1e-5);
}

TEST_CASE("the cosine is that of the C library to its last bits, and never rises after the warm-up") {
  const WarmupCosine schedule{.peak = 3e-3, .warmup_steps = 10, .total_steps = 1000};
  double before = schedule.at(10);
  CHECK(before == 3e-3);
  for (Index step = 11; step < 1100; ++step) {
    const double part = std::min(static_cast<double>(step - 10) / 1000, 1.0), rate = schedule.at(step);
    CHECK(std::fabs(rate - 1.5e-3 * (std::cos(std::numbers::pi * part) + 1)) < 1e-18);
    CHECK(rate <= before);
    before = rate;
  }
}

TEST_CASE("no warm-up starts at the peak; a constant rate stays") {
  CHECK(WarmupCosine{.peak = 0.5, .total_steps = 10}.at(0) == 0.5);
  CHECK(moepar::Constant{.rate = 0.25}.at(1) == 0.25);
  CHECK(moepar::Constant{.rate = 0.25}.at(1000000) == 0.25);
}

TEST_CASE("numbers that make no schedule are refused") {
  constexpr double nan = std::numeric_limits<double>::quiet_NaN();
  CHECK_THROWS_AS((void)(WarmupCosine{.peak = 1, .total_steps = 10}.at(-1)), moepar::Error);
  CHECK_THROWS_AS((void)(WarmupCosine{.peak = nan, .total_steps = 10}.at(1)), moepar::Error);
  CHECK_THROWS_AS((void)(WarmupCosine{.peak = 1, .floor = -1, .total_steps = 10}.at(1)), moepar::Error);
  CHECK_THROWS_AS((void)(WarmupCosine{.peak = 1, .warmup_steps = -1, .total_steps = 10}.at(1)), moepar::Error);
  CHECK_THROWS_AS((void)(WarmupCosine{.peak = 1, .total_steps = 0}.at(1)), moepar::Error);
  CHECK_THROWS_AS((void)(moepar::Constant{.rate = nan}.at(1)), moepar::Error);
}

}  // namespace
