// SPDX-License-Identifier: Apache-2.0
// Which experts a router chooses, with which weights, and the plan that it makes of that.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <moepar/moe.hpp>
#include <numeric>
#include <string>
#include <vector>

namespace mp = moepar;
using mp::Index;

namespace {

std::size_t size_of(Index count) { return static_cast<std::size_t>(count); }

//! One rank, and routers on it that are given their logits.
template <class Element> struct Routing {
  Routing(Index expert_count, std::vector<Index> lengths, Index layers = 1, Index workers = 1)
      : experts{expert_count},
        rank{mp::Binding{.routers = {.layers = layers, .experts = expert_count}},
             {.sequences = static_cast<Index>(lengths.size()),
              .length = std::max<Index>(1, *std::max_element(lengths.begin(), lengths.end()))},
             {1 << 20, 64, 1 << 20, 64},
             workers} {
    rank.set_lengths(lengths);
    rows = rank.rows().rows();
    logits.resize(size_of(rank.shape().tokens() * experts));
    const mp::RandomKey key = mp::random_key(9, "router test");
    for (Index i = 0; i < rows * experts; ++i)
      logits[size_of(i)] = static_cast<Element>(3 * mp::normal(mp::random_word(key, 0, i)));
  }
  template <class Policy, Index TopK> const mp::RoutePlan<Element>& route() {
    mp::Router<Policy, TopK>::route(rank, mp::Matrix<const Element>{logits.data(), rank.shape().tokens(), experts},
                                    plan);
    return plan;
  }
  Element* row(Index token) { return logits.data() + token * experts; }

  Index experts, rows = 0;
  mp::SingleRank<Element> rank;
  std::vector<Element> logits{};
  mp::RoutePlan<Element> plan{};
};

std::vector<double> softmax(const double* logits, Index count) {
  const double maximum = *std::max_element(logits, logits + count);
  std::vector<double> result;
  double sum = 0;
  for (Index e = 0; e < count; ++e) sum += std::exp(logits[e] - maximum);
  for (Index e = 0; e < count; ++e) result.push_back(std::exp(logits[e] - maximum) / sum);
  return result;
}

//! The laws of every plan.
template <class Element> void check_plan(const mp::RoutePlan<Element>& plan, const mp::RowGroups& rows) {
  const Index slots = rows.rows() * plan.top_k;
  std::vector<Index> counts(size_of(plan.granules * plan.experts), 0), of_expert(size_of(plan.experts), 0);
  for (Index g = 0; g < plan.granules; ++g)
    for (Index i = rows.begins[g] * plan.top_k; i < rows.begins[g + 1] * plan.top_k; ++i) {
      ++counts[size_of(g * plan.experts + plan.expert[i])];
      ++of_expert[size_of(plan.expert[i])];
    }
  CHECK(std::equal(counts.begin(), counts.end(), plan.counts));
  CHECK(plan.expert_begin[0] == 0);
  for (Index e = 0; e < plan.experts; ++e) {
    CHECK(plan.expert_begin[e + 1] - plan.expert_begin[e] == of_expert[size_of(e)]);
    CHECK(plan.sorted_begin(e, 0) == plan.expert_begin[e]);
    CHECK(plan.sorted_begin(e, plan.granules) == plan.expert_begin[e + 1]);
  }
  CHECK(plan.expert_begin[plan.experts] == slots);
  std::vector<bool> taken(size_of(slots), false);
  for (Index i = 0; i < slots; ++i) {
    const Index sorted = plan.place[i];
    REQUIRE((sorted >= 0 && sorted < slots));
    CHECK_FALSE(taken[size_of(sorted)]);
    taken[size_of(sorted)] = true;
    CHECK(plan.order[sorted] == i / plan.top_k);
    CHECK(plan.sorted_weight[sorted] == plan.weight[i]);
    CHECK(sorted >= plan.expert_begin[plan.expert[i]]);
    CHECK(sorted < plan.expert_begin[plan.expert[i] + 1]);
    for (Index other = i / plan.top_k * plan.top_k; other < i; ++other) CHECK(plan.expert[other] != plan.expert[i]);
  }
  for (Index e = 0; e < plan.experts; ++e)
    for (Index i = plan.expert_begin[e] + 1; i < plan.expert_begin[e + 1]; ++i)
      CHECK(plan.order[i - 1] < plan.order[i]);
}

}  // namespace

TEST_CASE("top_k: the largest first, of equal ones the lower index") {
  constexpr float infinity = std::numeric_limits<float>::infinity();
  const auto chosen = [](std::vector<float> scores, Index count) {
    std::vector<std::int32_t> result(size_of(count));
    mp::top_k(scores.data(), static_cast<Index>(scores.size()), count, result.data());
    return result;
  };
  using List = std::vector<std::int32_t>;
  CHECK(chosen({1, 3, 2, 5}, 3) == List{3, 1, 2});
  CHECK(chosen({7, 7, 7, 7}, 4) == List{0, 1, 2, 3});
  CHECK(chosen({1, 2, 1, 2, 2}, 4) == List{1, 3, 4, 0});
  CHECK(chosen({-infinity, -infinity, -infinity}, 2) == List{0, 1});
  CHECK(chosen({-infinity, infinity, 0, infinity}, 3) == List{1, 3, 2});
  CHECK(chosen({0.0F, -0.0F, 0.0F}, 3) == List{0, 1, 2});
  CHECK(chosen({4}, 1) == List{0});
}

TEST_CASE("TopKSoftmax: weights are the softmax over all experts, made to add up to one") {
  Routing<double> routing{7, {4, 0, 1, 9}};
  const auto check = [&](const mp::RoutePlan<double>& plan) {
    for (Index t = 0; t < routing.rows; ++t) {
      const auto all = softmax(routing.row(t), 7);
      double sum = 0, smallest = 1;
      for (Index i = t * plan.top_k; i < (t + 1) * plan.top_k; ++i) {
        sum += all[size_of(plan.expert[i])];
        smallest = std::min(smallest, all[size_of(plan.expert[i])]);
      }
      for (Index i = t * plan.top_k; i < (t + 1) * plan.top_k; ++i)
        CHECK(plan.weight[i] == doctest::Approx(all[size_of(plan.expert[i])] / sum).epsilon(1e-14));
      CHECK(std::count_if(all.begin(), all.end(), [&](double p) { return p >= smallest; }) == plan.top_k);
    }
    check_plan(plan, routing.rank.rows());
  };
  check(routing.route<mp::TopKSoftmax, 1>());
  routing.rank.set_lengths({4, 0, 1, 9});
  check(routing.route<mp::TopKSoftmax, 2>());
  routing.rank.set_lengths({4, 0, 1, 9});
  check(routing.route<mp::AuxiliaryLoss, 3>());
  routing.rank.set_lengths({4, 0, 1, 9});
  check(routing.route<mp::TopKSoftmax, 7>());
}

TEST_CASE("TopKSoftmax: logits that are far apart or very large") {
  Routing<float> routing{3, {3}};
  routing.logits = {1e30F, -1e30F, 1e30F, -3e38F, -3e38F, 3e38F, 0, 88, 500};
  const auto& plan = routing.route<mp::TopKSoftmax, 2>();
  CHECK(std::vector<float>{plan.weight, plan.weight + 6} == std::vector<float>{0.5F, 0.5F, 1, 0, 1, 0});
  CHECK(std::vector<std::int32_t>{plan.expert, plan.expert + 6} == std::vector<std::int32_t>{0, 2, 2, 0, 2, 1});
}

TEST_CASE("plans hold their laws for any lengths and any number of workers") {
  for (const Index workers : {1, 3}) {
    for (const std::vector<Index>& lengths : {std::vector<Index>{0}, {0, 0}, {1}, {17, 0, 1, 40, 3}}) {
      Routing<float> routing{6, lengths, 3, workers};
      check_plan(routing.route<mp::TopKSoftmax, 2>(), routing.rank.rows());
      CHECK(routing.plan.layer == 0);
      check_plan(routing.route<mp::Sinkhorn, 2>(), routing.rank.rows());
      CHECK(routing.plan.layer == 1);
      std::fill(routing.logits.begin(), routing.logits.end(), 0.5F);
      check_plan(routing.route<mp::TopKSoftmax, 3>(), routing.rank.rows());
      CHECK(routing.plan.layer == 2);
      CHECK(routing.plan.expert_begin[3] == 3 * routing.rows);  // all equal: the lower experts
    }
  }
}

TEST_CASE("Sinkhorn: weights come from the plain logits") {
  Routing<double> one{5, {6, 3}}, two{5, {6, 3}};
  const auto& first = one.route<mp::Sinkhorn, 1>();
  for (Index t = 0; t < 9; ++t)
    CHECK(first.weight[t] == doctest::Approx(1 / (1 + std::exp(-one.row(t)[first.expert[t]]))).epsilon(1e-14));
  const auto& second = two.route<mp::Sinkhorn, 2>();
  for (Index i = 0; i < 18; ++i)
    CHECK(second.weight[i] == doctest::Approx(softmax(two.row(i / 2), 5)[size_of(second.expert[i])]).epsilon(1e-14));
}

TEST_CASE("outside of training the largest logits win, whatever balances them") {
  Routing<float> plain{6, {50, 7}}, balanced{6, {50, 7}};
  for (auto* routing : {&plain, &balanced})
    for (Index t = 0; t < routing->rows; ++t) routing->row(t)[2] += 4;  // everybody's favourite
  const auto chosen = [](const mp::RoutePlan<float>& plan) {
    return std::vector<std::int32_t>{plan.expert, plan.expert + 57 * 2};
  };
  const auto expected = chosen(plain.route<mp::TopKSoftmax, 2>());
  CHECK(chosen(balanced.route<mp::Sinkhorn, 2>()) != expected);
  balanced.rank.set_lengths({50, 7});
  balanced.rank.set_training(false);
  CHECK(chosen(balanced.route<mp::Sinkhorn, 2>()) == expected);
  CHECK(balanced.rank.totals().sinkhorn_error[0] == 0);
}

TEST_CASE("a logit that is not a number stops the step and says where") {
  for (const Index workers : {1, 2}) {
    Routing<float> routing{5, {4, 0, 3}, 2, workers};
    (void)routing.route<mp::TopKSoftmax, 2>();
    routing.row(4 + 1)[3] = std::numeric_limits<float>::quiet_NaN();
    const std::string expected =
        "moepar::Router: the logit of expert 3 is not a number, on rank 0 in routed layer 1, sequence 2 of this rank's "
        "micro-step, position 1.";
    const auto message = [&](auto route) -> std::string {
      try {
        route();
      } catch (const mp::Error& error) {
        return std::string{error.what()}.substr(0, expected.size());
      }
      return "nothing was thrown";
    };
    SUBCASE("plain") {
      CHECK(message([&] { (void)routing.route<mp::TopKSoftmax, 2>(); }) == expected);
    }
    SUBCASE("Sinkhorn") {
      CHECK(message([&] { (void)routing.route<mp::Sinkhorn, 1>(); }) == expected);
    }
    SUBCASE("evaluated") {
      routing.rank.set_training(false);
      CHECK(message([&] { (void)routing.route<mp::Sinkhorn, 2>(); }) == expected);
    }
  }
}
