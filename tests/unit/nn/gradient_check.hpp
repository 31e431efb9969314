// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <limits>
#include <moepar/moe.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

// What the tests of gradients share: modules run in 64 bits, and every gradient is compared with central differences.
namespace gradient_check {

namespace mp = moepar;
using mp::Index;

constexpr double step = 1e-5;
constexpr double not_a_number = std::numeric_limits<double>::quiet_NaN();

inline std::size_t size_of(Index count) { return static_cast<std::size_t>(count); }

//! Numbers in (-1, 1), one after another.
class Numbers {
 public:
  explicit Numbers(std::uint64_t seed) : key_{mp::random_key(seed, "gradient check")} {}
  double operator()() { return 2 * mp::uniform(mp::random_word(key_, 0, next_++)) - 1; }
  std::int32_t below(std::int32_t count) {
    return static_cast<std::int32_t>(mp::random_word(key_, 0, next_++) % static_cast<std::uint32_t>(count));
  }

 private:
  mp::RandomKey key_;
  Index next_ = 0;
};

//! Checks gradient[i] = d objective / d values[i]: all of them, or about 30 of many. Differences err by about 1e-10 x
//! the third derivative and 1e-11 x the objective, whence the absolute term.
template <class Objective>
void check_slopes(const std::string& what, std::span<double> values, std::span<const double> gradient,
                  Objective objective) {
  REQUIRE(values.size() == gradient.size());
  double worst = 0;
  std::size_t where = 0;
  const std::size_t stride = values.size() / 30 + 1;
  for (std::size_t i = 0; i < values.size(); i += stride) {
    const double kept = values[i];
    values[i] = kept + step;
    const double above = objective();
    values[i] = kept - step;
    const double below = objective();
    values[i] = kept;
    const double slope = (above - below) / (2 * step);
    const double error = std::fabs(gradient[i] - slope) / (1e-6 * std::fabs(slope) + 2e-9);
    if (!(error <= worst)) {  // a NaN is the worst
      worst = error;
      where = i;
    }
  }
  INFO(what, ", element ", where, " of ", values.size());
  CHECK(worst <= 1);
}

//! More memory than any test needs, full of NaN: what a module reads before it is written shows.
inline constexpr mp::ArenaBytes plenty{1 << 21, 1 << 21, 1 << 21, 1 << 21};

template <class Rank> void poison(Rank& rank) {
  for (mp::Arena* arena : {&rank.arena(), &rank.parameters(), &rank.routes()}) {
    const Index mark = arena->mark();
    const auto rest = arena->template take<std::byte>(1, arena->capacity() - (mark + 63) / 64 * 64);
    std::memset(rest.data, 0xff, size_of(rest.size()));
    arena->release(mark);
  }
}

//! Parameters in (-1, 1): those of norms too, which are then not near 1. Gradients become NaN.
template <class Module, class Rank> void fill_parameters(Module& module_, Rank& rank, Numbers& numbers) {
  mp::for_each_parameter(module_, [&](const mp::Site&, const mp::Parameter& parameter) {
    for (double& value : rank.kept(parameter)) value = numbers();
    for (double& value : rank.kept_gradient(parameter)) value = not_a_number;
  });
}

template <class Module, class Rank, class Objective>
void check_parameters(Module& module_, Rank& rank, Objective objective) {
  mp::for_each_parameter(module_, [&](const mp::Site& site, const mp::Parameter& parameter) {
    const auto kept = rank.kept_gradient(parameter);
    const std::vector<double> gradient(kept.begin(), kept.end());
    check_slopes(site.name(), rank.kept(parameter), gradient, objective);
  });
}

//! One module from rows to rows, over sequences of given lengths. Its objective is the sum of output x some fixed
//! numbers, plus the auxiliary loss and the z-loss of its routers with their coefficients.
template <class ModuleType> struct RowPass {
  using Module = ModuleType;

  RowPass(Index inputs, Index outputs, std::vector<Index> sequence_lengths, const mp::Numerics& numerics = {},
          std::uint64_t seed = 1)
      : lengths{std::move(sequence_lengths)}, rank{module_, shape_of(lengths), plenty, 1, numerics}, numbers{seed} {
    poison(rank);
    rank.set_lengths(lengths);
    rows = rank.rows().rows();
    capacity = rank.shape().tokens();
    const auto fill = [&](std::vector<double>& values, Index columns) {
      values.assign(size_of(capacity * columns), not_a_number);  // rows beyond the last are nobody's
      for (Index i = 0; i < rows * columns; ++i) values[size_of(i)] = numbers();
    };
    fill(input, inputs);
    fill(output_gradient, outputs);
    output.assign(output_gradient.size(), not_a_number);
    input_gradient.assign(input.size(), not_a_number);
    fill_parameters(module_, rank, numbers);
    scratch.resize(64);
  }

  static mp::StepShape shape_of(const std::vector<Index>& lengths) {
    const Index longest = *std::max_element(lengths.begin(), lengths.end());
    return {.sequences = static_cast<Index>(lengths.size()), .length = std::max<Index>(longest, 1)};
  }
  template <class Vector> auto matrix(Vector& values) const {
    return mp::Matrix{values.data(), capacity, static_cast<Index>(values.size()) / capacity};
  }

  //! A fresh forward pass: routers choose again.
  double objective() {
    rank.arena().release(0);
    rank.set_lengths(lengths);
    record = {};
    rank.with_parameters(module_, [&] { module_.forward(rank, matrix(std::as_const(input)), matrix(output), record); });
    return value();
  }
  //! The objective of the outputs and totals that are there.
  double value() {
    double sum = 0;
    for (Index i = 0; i < rows * matrix(output).columns; ++i) sum += output[size_of(i)] * output_gradient[size_of(i)];
    const auto& totals = rank.totals();
    if (totals.layers == 0 || rows == 0) return sum;
    std::vector<std::int64_t> counts_of_round(scratch);
    close_balance(rank, counts_of_round.data());
    const auto tokens = static_cast<double>(rows);
    for (Index g = 0; g < totals.granules; ++g) {
      if (totals.balances)
        sum +=
            rank.numerics().auxiliary_loss_coefficient * balance_of_sequence(rank, g, counts_of_round.data()) / tokens;
      sum += rank.numerics().z_loss_coefficient * totals.z_losses[g] / tokens;
    }
    return sum;
  }
  void backward() {
    close_balance(rank, scratch.data());
    rank.with_gradients(module_, [&] {
      module_.backward(rank, matrix(std::as_const(output_gradient)), matrix(input_gradient), record);
    });
    rank.finish_gradients();
  }
  //! How many rows go where: while that stays, the objective is smooth.
  [[nodiscard]] std::vector<Index> choice() {
    const auto& totals = rank.totals();
    if (totals.layers == 0) return {};
    return {totals.counts, totals.counts + totals.layers * totals.granules * totals.experts};
  }

  void check() {
    (void)objective();
    backward();
    const auto chosen = choice();
    const auto smooth = [&] {
      const double there = objective();
      REQUIRE(choice() == chosen);
      return there;
    };
    const std::span used{input.data(), size_of(rows * matrix(input).columns)};
    const auto gradient = input_gradient;
    check_slopes("input", used, std::span{gradient}.first(used.size()), smooth);
    check_parameters(module_, rank, smooth);
  }

  std::vector<Index> lengths;
  Module module_{};
  mp::SingleRank<double> rank;
  Numbers numbers;
  Index rows = 0, capacity = 0;
  std::vector<double> input{}, output{}, output_gradient{}, input_gradient{};
  std::vector<std::int64_t> scratch{};
  typename Module::template Record<double> record{};
};

}  // namespace gradient_check
