// SPDX-License-Identifier: Apache-2.0
// Mixtral 8x7B as a type on 64 ranks: what the compiler knows before anything runs.
//
//   g++ -std=c++20 -O3 -I include examples/mixtral_8x7b.cpp -pthread && ./a.out
#include <cstdio>
#include <moepar/moe.hpp>

#ifndef EXPERT_DEGREE
#define EXPERT_DEGREE 8
#endif

namespace mp = moepar;
using namespace mp::literals;

struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<4096, 14336>, 8>, EXPERT_DEGREE> {};
struct MoeLayer : mp::Moe<mp::Router<mp::TopKSoftmax, /*TopK=*/2>, Experts> {};
struct Block : mp::Recompute<mp::TransformerBlock<mp::Attention<4096, /*heads*/ 32, /*kv heads*/ 8>, MoeLayer>> {};
struct Mixtral : mp::HybridShard<mp::CausalLm</*vocabulary*/ 32000, mp::Repeat<Block, 32>>, /*ShardDegree=*/2> {};

using Job = mp::Deployment<Mixtral, mp::World<64>>;

static_assert(Job::parameters().total() == 46'702'792'704);
static_assert(Job::state(mp::Precision::bf16).total() <= 80_GB);

namespace {

double billions(mp::Index value) { return static_cast<double>(value) * 1e-9; }

void print_state(const char* precision, const mp::StateBytes& state) {
  std::printf("  %-22s %6.1f GB = parameters %.1f + gradients %.1f + optimizer %.1f\n", precision,
              billions(state.total()), billions(state.parameters), billions(state.gradients),
              billions(state.optimizer));
}

}  // namespace

int main() {
  constexpr mp::StepShape step{.sequences = 1, .length = 4096, .precision = mp::Precision::bf16};
  constexpr auto traffic = Job::traffic(step);
  constexpr mp::Index one_card = 80_GB;

  std::printf("Mixtral 8x7B   %.2f billion parameters, %.2f of them used by a token\n",
              billions(Job::parameters().total()), billions(Job::parameters().active));
  std::printf("64 ranks       expert degree %lld, shard degree %lld; replicas: %lld of experts, %lld of the rest\n\n",
              static_cast<long long>(Job::layout.expert), static_cast<long long>(Job::layout.expert_shard),
              static_cast<long long>(Job::layout.replica_degree(mp::Kind::expert)),
              static_cast<long long>(Job::layout.replica_degree(mp::Kind::dense)));

  std::printf("A rank keeps\n");
  print_state("f32", Job::state(mp::Precision::f32));
  print_state("bf16, f32 master", Job::state(mp::Precision::bf16));

  std::printf("\nA rank sends in a step of 4096 tokens, in bf16\n");
  std::printf("  parameters gathered    %6.1f GB over the shard axis\n", billions(traffic.gather));
  std::printf("  gradients reduced      %6.1f GB over the shard axis\n", billions(traffic.reduce));
  std::printf("  gradients of replicas  %6.1f GB over the replica axis\n", billions(traffic.replicate));
  std::printf("  tokens to experts      %6.1f GB over the expert axis\n", billions(traffic.exchange));

  if constexpr (constexpr auto smallest = Job::smallest_shard_degree_that_fits(one_card, mp::Precision::bf16))
    std::printf("\nThe smallest shard degree whose state fits 80 GB is %lld.\n", static_cast<long long>(*smallest));
  else
    std::printf("\nNo shard degree makes the state fit 80 GB.\n");
}
