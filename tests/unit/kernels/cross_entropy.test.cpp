// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"
//
#include <moepar/core/elementary.hpp>
#include <moepar/core/row_sum.hpp>
#include <moepar/kernels/cpu/cross_entropy.hpp>
#include <span>
#include <utility>

using namespace kernel_test;

namespace {

std::vector<std::int32_t> targets_of(Index rows, Index vocabulary) {
  std::vector<std::int32_t> targets;
  for (Index t = 0; t < rows; ++t) targets.push_back(t % 4 == 2 ? -100 : static_cast<std::int32_t>(t * 5 % vocabulary));
  return targets;
}

}  // namespace

TEST_CASE("cross_entropy: the definition's bits on every machine, rows without a label") {
  const float scale = 1.0f / 37;
  for (const Index vocabulary : {1, 2, 63, 64, 65, 129, 1000}) {
    const Index rows = 41;
    Values<float> logits = numbers<float>(rows * vocabulary, "logits");
    for (float& logit : logits) logit *= 20;
    const std::vector<std::int32_t> targets = targets_of(rows, vocabulary);
    Values<float> gradient;
    Values<double> losses;
    for (Index t = 0; t < rows; ++t) {
      const std::span<const float> row{logits.data() + t * vocabulary, size_of(vocabulary)};
      const Index target = targets[size_of(t)];
      const float largest = moepar::row_max(row);
      Values<float> powers;
      for (const float logit : row) powers.push_back(moepar::exp32(logit - largest));
      const float sum = moepar::row_sum(std::span{powers});
      losses.push_back(target < 0 ? 0 : double{moepar::log_sum_exp(largest, sum)} - double{row[size_of(target)]});
      for (Index i = 0; i < vocabulary; ++i) {
        const float p = powers[size_of(i)] / sum;
        gradient.push_back(target < 0 ? 0.0f : i == target ? (p - 1.0f) * scale : p * scale);
      }
    }
    Values<double> found(size_of(rows));
    check_everywhere(gradient, [&](cpu::Workers& workers) {
      Values<float> in_place = logits;
      std::fill(found.begin(), found.end(), 7.0);
      cpu::cross_entropy<float>(workers, matrix(in_place, rows), targets, scale, found);
      CHECK(same_bits(found, losses));
      return in_place;
    });
    check_everywhere(losses, [&](cpu::Workers& workers) {
      std::fill(found.begin(), found.end(), 7.0);
      cpu::cross_entropy_losses(workers, matrix(std::as_const(logits), rows), targets, found);
      return found;
    });
  }
}

TEST_CASE("cross_entropy: against 64 bits, and gradients against central differences") {
  for (const Index rows : {0, 1, 5}) {
    const Index vocabulary = 67;
    Values<double> logits = numbers<double>(rows * vocabulary, "logits");
    for (double& logit : logits) logit *= 4;
    const std::vector<std::int32_t> targets = targets_of(rows, vocabulary);
    Values<double> losses(size_of(rows)), gradient = logits;
    const double scale = 0.25;
    cpu::cross_entropy<double>(one_worker(), matrix(gradient, rows), targets, scale, losses);
    for (Index t = 0; t < rows; ++t) {
      double sum = 0;
      for (Index i = 0; i < vocabulary; ++i) sum += std::exp(logits[size_of(t * vocabulary + i)]);
      const Index target = targets[size_of(t)];
      const double expected = target < 0 ? 0 : std::log(sum) - logits[size_of(t * vocabulary + target)];
      CHECK(losses[size_of(t)] == doctest::Approx(expected).epsilon(1e-13));
    }
    check_gradient(logits, gradient, [&] {
      double sum = 0;
      cpu::cross_entropy_losses(one_worker(), matrix(logits, rows), targets, losses);
      for (const double loss : losses) sum += loss;
      return sum * scale;
    });
  }
}

TEST_CASE("cross_entropy: the gradient of a rare word stays subnormal, in every worker") {
  const Index rows = 400, vocabulary = 64;
  Values<float> logits(size_of(rows * vocabulary), -90.0f);
  for (Index t = 0; t < rows; ++t) logits[size_of(t * vocabulary)] = 0;
  const std::vector<std::int32_t> targets(size_of(rows), 0);
  Values<double> losses(size_of(rows));
  on_every_machine([&](cpu::Workers& workers) {
    Values<float> gradient = logits;
    cpu::cross_entropy<float>(workers, matrix(gradient, rows), targets, 1.0f, losses);
    for (Index t = 0; t < rows; ++t) REQUIRE(gradient[size_of(t * vocabulary + 1)] == moepar::exp32(-90.0f));
  });
}
