// SPDX-License-Identifier: Apache-2.0
// A model as a type, spread over eight ranks. The compiler checks the layout and knows the groups.
//
//   g++ -std=c++20 -O3 -I include examples/layout.cpp -pthread && ./a.out
//   g++ -std=c++20 -O3 -I include -DEXPERT_DEGREE=3 examples/layout.cpp -pthread      # refused, in one sentence
#include <cstdio>
#include <moepar/moe.hpp>

#ifndef EXPERT_DEGREE
#define EXPERT_DEGREE 2
#endif

namespace mp = moepar;
using namespace mp::literals;

// Each level is a struct of its own, because compilers print its name when something is wrong.
struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<256, 512>, 8>, EXPERT_DEGREE> {};
struct MoeLayer : mp::Moe<mp::Router<mp::Sinkhorn, /*TopK=*/2>, Experts> {};
struct Block : mp::Recompute<mp::TransformerBlock<mp::Attention<256, /*heads*/ 8, /*kv heads*/ 2>, MoeLayer>> {};
struct Model : mp::HybridShard<mp::CausalLm</*vocabulary*/ 32000, mp::Repeat<Block, 4>>, /*ShardDegree=*/2> {};

using Job = mp::Deployment<Model, mp::World<8>>;

// Here every rule is checked.
static_assert(Job::memory({.sequences = 4, .length = 512}).bytes_per_rank <= 2_GiB);

namespace {

// The world ranks of a group, from three numbers.
void print(const char* what, const mp::Group& group, mp::Index rank) {
  std::printf("  %-24s", what);
  for (mp::Index position = 0; position < group.size; ++position)
    std::printf(" %lld", static_cast<long long>(group.member(position, rank)));
  std::printf("\n");
}

}  // namespace

int main() {
  const mp::Index rank = 5;
  std::printf("%.1f million parameters, %.1f million on a rank\n\n",
              static_cast<double>(Job::parameters().total()) * 1e-6,
              static_cast<double>(Job::parameters_of_rank().total()) * 1e-6);
  std::printf("Rank %lld of 8 works together with ranks\n", static_cast<long long>(rank));
  print("expert group", Job::layout.expert_group(rank), rank);
  print("shards of experts", Job::layout.shard_group(mp::Kind::expert, rank), rank);
  print("replicas of experts", Job::layout.replica_group(mp::Kind::expert, rank), rank);
  print("shards of the rest", Job::layout.shard_group(mp::Kind::dense, rank), rank);
  print("replicas of the rest", Job::layout.replica_group(mp::Kind::dense, rank), rank);
}
