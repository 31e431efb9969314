// SPDX-License-Identifier: Apache-2.0
// Sinkhorn's iteration: against the formula, at its limits, and what it is for.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <moepar/moe.hpp>
#include <string>
#include <vector>

namespace mp = moepar;
using mp::Index;

namespace {

std::size_t size_of(Index count) { return static_cast<std::size_t>(count); }

template <class Element> struct Table {
  Table(Index row_count, Index expert_count) : rows{row_count}, experts{expert_count} {
    const mp::RandomKey key = mp::random_key(4, "sinkhorn test");
    for (Index i = 0; i < rows * experts; ++i)
      logits.push_back(static_cast<Element>(mp::normal(mp::random_word(key, 0, i))));
  }
  //! Returns the imbalance that was reported; scores and column scales are kept.
  double run() {
    scores.assign(logits.size(), -1);
    scale.assign(size_of(experts), -1);
    std::vector<double> sums(scale);
    return mp::sinkhorn_scores<Element>({logits.data(), rows, experts}, 0, rows, {scores.data(), rows, experts},
                                        scale.data(), sums.data());
  }
  //! Largest relative distance of a column's share from an equal one, when each row adds up to one.
  [[nodiscard]] double imbalance() const {
    std::vector<double> shares(size_of(experts), 0.0);
    for (Index t = 0; t < rows; ++t) {
      double sum = 0;
      for (Index e = 0; e < experts; ++e) sum += scores[size_of(t * experts + e)];
      for (Index e = 0; e < experts; ++e) shares[size_of(e)] += scores[size_of(t * experts + e)] / sum;
    }
    double error = 0;
    for (const double share : shares)
      error = std::max(error, std::fabs(share * static_cast<double>(experts) / static_cast<double>(rows) - 1));
    return error;
  }

  Index rows, experts;
  std::vector<Element> logits{};
  std::vector<double> scores{}, scale{};
};

//! The iteration by its formula, in 64 bits, with the C library.
template <class Element> std::vector<double> by_formula(const Table<Element>& table) {
  const std::size_t rows = size_of(table.rows), experts = size_of(table.experts);
  std::vector<double> cost(table.logits.begin(), table.logits.end()), columns(experts, 1.0), lines(rows);
  for (std::size_t t = 0; t < rows; ++t) {
    const double maximum = *std::max_element(&cost[t * experts], &cost[t * experts] + experts);
    for (std::size_t e = 0; e < experts; ++e) cost[t * experts + e] = std::exp(cost[t * experts + e] - maximum);
  }
  for (Index sweep = 0; sweep < mp::sinkhorn_sweeps; ++sweep) {
    for (std::size_t t = 0; t < rows; ++t) {
      double sum = 1e-8;
      for (std::size_t e = 0; e < experts; ++e) sum += cost[t * experts + e] * columns[e];
      lines[t] = 1 / sum;
    }
    for (std::size_t e = 0; e < experts; ++e) {
      double sum = 1e-8;
      for (std::size_t t = 0; t < rows; ++t) sum += cost[t * experts + e] * lines[t];
      columns[e] = static_cast<double>(rows) / static_cast<double>(experts) / sum;
    }
  }
  for (std::size_t i = 0; i < cost.size(); ++i) cost[i] *= columns[i % experts];
  return cost;
}

template <class Element> void check_formula(Table<Element>& table, double epsilon) {
  (void)table.run();
  const auto expected = by_formula(table);
  for (std::size_t i = 0; i < expected.size(); ++i)
    CHECK(table.scores[i] == doctest::Approx(expected[i]).epsilon(epsilon));
}

//! Rows that the most loaded expert gets, relative to the mean.
template <class Policy, Index TopK> double most_over_mean(double favour) {
  constexpr Index experts = 8, rows = 256;
  mp::SingleRank<float> rank{mp::Binding{.routers = {.layers = 1, .experts = experts}},
                             {.sequences = 1, .length = rows},
                             {1 << 20, 64, 1 << 20, 64}};
  Table<float> table{rows, experts};
  for (Index i = 0; i < rows * experts; ++i)
    table.logits[size_of(i)] += static_cast<float>(favour * static_cast<double>(i % experts) / experts);
  mp::RoutePlan<float> plan{};
  mp::Router<Policy, TopK>::route(rank, {table.logits.data(), rows, experts}, plan);
  const Index most = *std::max_element(plan.counts, plan.counts + experts);
  return static_cast<double>(most * experts) / static_cast<double>(rows * TopK);
}

}  // namespace

TEST_CASE("Sinkhorn: scores are those of the formula") {
  for (const Index rows : {1, 2, 7, 64}) {
    CAPTURE(rows);
    Table<double> wide{rows, 5};
    check_formula(wide, 1e-11);
    Table<float> narrow{rows, 8};
    check_formula(narrow, 1e-5);
    Table<double> alone{rows, 1};
    check_formula(alone, 1e-11);
  }
  Table<double> skewed{33, 4};
  for (Index t = 0; t < 33; ++t) skewed.logits[size_of(t * 4 + 1)] += 5;
  check_formula(skewed, 1e-11);
}

TEST_CASE("Sinkhorn: the imbalance that is left is at most the one that is reported") {
  for (const double apart : {0.0, 1.0, 3.0, 6.0}) {
    Table<double> table{64, 8};
    for (Index t = 0; t < 64; ++t) table.logits[size_of(t * 8 + 5)] -= apart;
    CAPTURE(apart);
    const double reported = table.run();
    CHECK(reported < 1e-3);
    CHECK(table.imbalance() <= reported + 1e-4);  // the floor of 1e-8 in columns and rows
  }
}

TEST_CASE("Sinkhorn: no finite logits make a score that is not a number") {
  const auto finite = [](Table<float>& table) {
    const double reported = table.run();
    return std::isfinite(reported) &&
           std::all_of(table.scores.begin(), table.scores.end(), [](double x) { return std::isfinite(x) && x >= 0; });
  };
  for (const Index rows : {1, 2, 40}) {
    CAPTURE(rows);
    for (const float value : {1e30F, -1e30F, 3.4e38F, -3.4e38F, 0.0F}) {
      Table<float> equal{rows, 4}, one{rows, 4}, row{rows, 4}, alternating{rows, 4};
      std::fill(equal.logits.begin(), equal.logits.end(), value);
      CHECK(finite(equal));
      for (Index t = 0; t < rows; ++t) one.logits[size_of(4 * t + 2)] = value;
      CHECK(finite(one));
      std::fill_n(row.logits.begin(), 4, value);
      CHECK(finite(row));
      for (std::size_t i = 0; i < alternating.logits.size(); ++i) alternating.logits[i] = i % 3 == 0 ? value : -value;
      CHECK(finite(alternating));
    }
    for (const float apart : {50.0F, 100.0F, 1000.0F}) {
      Table<float> below{rows, 4};
      for (Index t = 0; t < rows; ++t) below.logits[size_of(4 * t + 1)] -= apart;
      CHECK(finite(below));
      CHECK(below.run() >= 0.9);  // an expert that nobody can be brought to: reported
      CHECK(below.imbalance() <= below.run() + 1e-4);
    }
  }
}

TEST_CASE("Sinkhorn over the batch: the scores of all sequences as if they were one") {
  const std::vector<Index> begins = {0, 4, 4, 5, 20};
  constexpr Index sequences = 4, experts = 5;
  Table<double> whole{20, experts}, parted{20, experts};
  const double reported = whole.run();
  parted.scores.resize(parted.logits.size());
  std::vector<double> sums(sequences * experts), scale(experts);
  const double error = mp::sinkhorn_scores_of_batch<double>(
      {parted.logits.data(), 20, experts}, begins.data(), {0, sequences}, mp::GranuleTree{sequences}, 20,
      {parted.scores.data(), 20, experts}, scale.data(), {sums.data(), sequences, experts}, [](mp::Matrix<double>) {});
  CHECK(error == doctest::Approx(reported).epsilon(1e-6));
  for (std::size_t i = 0; i < whole.scores.size(); ++i)
    CHECK(parted.scores[i] == doctest::Approx(whole.scores[i]).epsilon(1e-12));
}

TEST_CASE("Sinkhorn: shifting the logits of a token changes no preference") {
  Table<double> table{20, 5}, shifted{20, 5};
  for (std::size_t i = 0; i < shifted.logits.size(); ++i) shifted.logits[i] += 64.0 * static_cast<double>(i / 5 % 3);
  (void)table.run();
  (void)shifted.run();
  for (std::size_t i = 0; i < table.scores.size(); ++i)
    CHECK(table.scores[i] == doctest::Approx(shifted.scores[i]).epsilon(1e-10));
}

TEST_CASE("Sinkhorn: experts get nearly equal loads where plain routing favours some") {
  for (const double favour : {0.0, 1.0, 4.0}) {
    CAPTURE(favour);
    const double plain_one = most_over_mean<mp::TopKSoftmax, 1>(favour),
                 plain_two = most_over_mean<mp::TopKSoftmax, 2>(favour),
                 balanced_one = most_over_mean<mp::Sinkhorn, 1>(favour),
                 balanced_two = most_over_mean<mp::Sinkhorn, 2>(favour);
    MESSAGE("favour " << favour << ": most loaded over mean, top-1 " << plain_one << " to " << balanced_one
                      << ", top-2 " << plain_two << " to " << balanced_two);
    CHECK(balanced_one < 1.2);
    CHECK(balanced_two < 1.2);
    if (favour > 0) {
      CHECK(balanced_one - 1 < 0.6 * (plain_one - 1));
      CHECK(balanced_two - 1 < 0.6 * (plain_two - 1));
    }
  }
}
