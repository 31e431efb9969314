// SPDX-License-Identifier: Apache-2.0
// A router alone: your logits in, a RoutePlan out. No model, no gate, no parallelism: one rank, and two policies side
// by side on logits that prefer the low experts.
//
//   g++ -std=c++20 -O3 -I include examples/router_alone.cpp -pthread && ./a.out
#include <algorithm>
#include <cstdio>
#include <moepar/moe.hpp>
#include <vector>

namespace mp = moepar;
using mp::Index;

constexpr Index experts = 8, top_k = 2;
constexpr mp::StepShape shape{.sequences = 2, .length = 128};
constexpr mp::Binding one_router{.routers = {.layers = 1, .experts = experts}};  // no parameters, one router

// What routing needs of memory: the same call on a rank that only counts.
template <class Router> constexpr mp::ArenaBytes bytes_of() {
  return mp::cost_of(mp::Layout{}, 0, shape, one_router,
                     [](auto& rank) {
                       mp::RoutePlan<float> plan{};
                       rank.begin_micro_step(0, nullptr);
                       Router::route(rank, mp::Matrix<const float>{nullptr, shape.tokens(), experts}, plan);
                     })
      .arenas;
}

namespace {

// Routes, prints who got how much and where the first tokens go; returns the load of the busiest expert over the mean,
// or 0 when the plan is not what it should be.
template <class Policy> double route(const char* name, std::vector<float>& logits) {
  using Router = mp::Router<Policy, top_k>;
  mp::SingleRank<float> rank{one_router, shape, bytes_of<Router>()};
  mp::RoutePlan<float> plan{};
  Router::route(rank, mp::Matrix<float>{logits.data(), shape.tokens(), experts}, plan);

  std::printf("%-12s", name);
  Index busiest = 0;
  for (Index e = 0; e < experts; ++e) {
    const Index rows = plan.expert_begin[e + 1] - plan.expert_begin[e];  // plan.counts has them for each sequence
    busiest = std::max(busiest, rows);
    std::printf("%5lld", static_cast<long long>(rows));
  }
  const double load = static_cast<double>(busiest * experts) / static_cast<double>(shape.tokens() * top_k);
  std::printf("%13.2f\n", load);
  for (Index token = 0; token < 3; ++token) {
    std::printf("  token %lld ", static_cast<long long>(token));
    for (Index slot = token * top_k; slot < (token + 1) * top_k; ++slot)
      std::printf("   to expert %d, weight %.3f, as row %3lld", plan.expert[slot],
                  static_cast<double>(plan.weight[slot]), static_cast<long long>(plan.place[slot]));
    std::printf("\n");
  }
  std::printf("\n");

  // The sorted order is what experts read: rows by (expert, token), and `place` leads from (token, slot) to its row.
  for (Index e = 0; e < experts; ++e)
    for (Index row = plan.expert_begin[e] + 1; row < plan.expert_begin[e + 1]; ++row)
      if (plan.order[row - 1] >= plan.order[row]) return 0;
  for (Index slot = 0; slot < shape.tokens() * top_k; ++slot)
    if (plan.order[plan.place[slot]] != slot / top_k) return 0;
  return load;
}

}  // namespace

int main() {
  // Logits of your own model; here normal noise, and a preference that falls from expert to expert.
  std::vector<float> logits(static_cast<std::size_t>(shape.tokens() * experts));
  mp::fill_normal(std::span{logits}, mp::random_key(/*seed=*/1, "logits"), /*step=*/0, /*first=*/0, 0.0, 1.0);
  for (std::size_t i = 0; i < logits.size(); ++i) logits[i] -= 0.4f * static_cast<float>(i % experts);

  std::printf("%lld tokens, top-%lld of %lld experts\n\nrows of     ", static_cast<long long>(shape.tokens()),
              static_cast<long long>(top_k), static_cast<long long>(experts));
  for (Index e = 0; e < experts; ++e) std::printf("%5lld", static_cast<long long>(e));
  std::printf("  largest/mean\n");
  const double plain = route<mp::TopKSoftmax>("TopKSoftmax", logits);
  const double balanced = route<mp::Sinkhorn>("Sinkhorn", logits);
  return plain > 2 && balanced > 0 && balanced < 1.5 ? 0 : 1;
}
