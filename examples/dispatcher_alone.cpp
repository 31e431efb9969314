// SPDX-License-Identifier: Apache-2.0
// A dispatcher alone: rows travel from the ranks of their tokens to the ranks of their experts, the experts are a loop
// of your own, and the rows come back. No router, no module: a communicator and who sends how much to whom.
//
//   g++ -std=c++20 -O3 -I include examples/dispatcher_alone.cpp -pthread && ./a.out
#include <algorithm>
#include <cstdio>
#include <moepar/moe.hpp>
#include <vector>

namespace mp = moepar;
using mp::Index;

constexpr Index ranks = 4, experts = 8, columns = 16;
constexpr Index tokens_of_rank[ranks] = {5, 9, 0, 7};  // one has none, and does what all others do

namespace {

mp::Matrix<float> matrix(std::vector<float>& values) {
  return {values.data(), static_cast<Index>(values.size()) / columns, columns};
}
std::vector<float> rows_of(Index count) { return std::vector<float>(static_cast<std::size_t>(count * columns)); }

// The tokens of one rank, by expert: your own routing. A row is what you like.
struct Tokens {
  std::vector<Index> expert{};
  std::vector<float> rows{};

  explicit Tokens(Index rank) : rows{rows_of(tokens_of_rank[rank])} {
    for (Index i = 0; i < tokens_of_rank[rank]; ++i) expert.push_back((3 * rank + i * i) % experts);
    std::sort(expert.begin(), expert.end());
    mp::fill_normal(std::span{rows}, mp::random_key(/*seed=*/1, "tokens"), /*step=*/0, rank * 1000, 0.0, 1.0);
  }
};

struct Journey {
  std::vector<float> returned{};  // the rows of this rank's tokens, as the experts left them
  Index at_experts = 0;           // rows that this rank's experts took
  Index staged = 0;               // rows that arrived for that, needed or not
};

template <class Dispatcher> Journey travel(mp::ThreadWorld::Rank& rank, Tokens& tokens) {
  auto group = rank.communicator();

  // Who sends how many rows to which expert: one number a rank and expert, gathered once.
  std::vector<Index> own(experts), all(experts * ranks);
  for (const Index expert : tokens.expert) ++own[static_cast<std::size_t>(expert)];
  group.all_gather(std::span<const Index>{own}, std::span{all});
  const mp::ExchangePlan plan{
      .members = ranks, .member = group.rank(), .granules = 1, .experts = experts, .counts = all.data()};
  const mp::ExchangePass everything{0, plan.all_granules()};

  Journey journey{.returned = tokens.rows, .at_experts = plan.rows_of_owner(0, ranks, group.rank())};
  Index sent_by_all = 0;
  for (const Index rows : all) sent_by_all += rows;
  journey.staged = Dispatcher::staged_rows(sent_by_all, journey.at_experts);
  std::vector<float> at_experts = rows_of(journey.at_experts), staged = rows_of(sent_by_all);
  std::vector<Index> scratch(2 * ranks);

  Dispatcher::template to_experts<float>(group, plan, everything, matrix(tokens.rows), matrix(at_experts),
                                         matrix(staged), scratch.data());
  Index row = 0;
  for (Index e = plan.member * plan.local(); e < (plan.member + 1) * plan.local(); ++e)
    for (const Index end = row + plan.rows(0, ranks, e); row < end; ++row)
      for (Index c = 0; c < columns; ++c) matrix(at_experts).row(row)[c] *= static_cast<float>(e + 1);  // the expert
  Dispatcher::template to_tokens<float>(group, plan, everything, matrix(at_experts), matrix(journey.returned),
                                        matrix(staged), scratch.data());
  return journey;
}

}  // namespace

int main() {
  std::vector<Journey> exchanged(ranks), gathered(ranks);
  bool right = true;
  mp::ThreadWorld world{ranks};
  world.run([&](mp::ThreadWorld::Rank& rank) {
    Tokens tokens{rank.rank()};
    exchanged[static_cast<std::size_t>(rank.rank())] = travel<mp::AllToAll>(rank, tokens);
    gathered[static_cast<std::size_t>(rank.rank())] = travel<mp::AllGather>(rank, tokens);
  });

  std::printf("%lld experts on %lld ranks; expert e multiplies its rows by e + 1\n\n", static_cast<long long>(experts),
              static_cast<long long>(ranks));
  std::printf("        rows of    rows its    rows that arrive\n");
  std::printf("rank     tokens     experts    AllToAll  AllGather   what came back\n");
  for (Index rank = 0; rank < ranks; ++rank) {
    const Journey &a = exchanged[static_cast<std::size_t>(rank)], &b = gathered[static_cast<std::size_t>(rank)];
    const Tokens tokens{rank};
    std::vector<float> expected = tokens.rows;
    for (std::size_t i = 0; i < expected.size(); ++i) expected[i] *= static_cast<float>(tokens.expert[i / columns] + 1);
    const bool equal = a.returned == b.returned && a.returned == expected;
    std::printf("%4lld %10zu %11lld %11lld %10lld   %s\n", static_cast<long long>(rank), tokens.expert.size(),
                static_cast<long long>(a.at_experts), static_cast<long long>(a.staged),
                static_cast<long long>(b.staged), equal ? "the same bits, and the right ones" : "WRONG");
    right = right && equal;
  }
  return right ? 0 : 1;
}
