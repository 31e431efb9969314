// SPDX-License-Identifier: Apache-2.0
// Shard degrees against the world.
#include <moepar/model.hpp>

namespace mp = moepar;

template <mp::Index Degree> struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<64, 128>, 8>, Degree> {};
template <mp::Index Degree> struct MoeLayer : mp::Moe<mp::Router<mp::TopKSoftmax, 2>, Experts<Degree>> {};
template <mp::Index Degree>
struct Block : mp::Recompute<mp::TransformerBlock<mp::Attention<64, 8, 2>, MoeLayer<Degree>>> {};
template <mp::Index Degree> struct Inner : mp::CausalLm<320, mp::Repeat<Block<Degree>, 4>> {};

#if MOEPAR_CASE == 1
// expected-error-1 {{moepar::HybridShard: ShardDegree must divide the world size.}}
// expected-number-1 {{ShardDegree = 3}}
// expected-number-1 {{WorldSize = 8}}
struct Model : mp::HybridShard<Inner<2>, 3> {};
using World = mp::World<8>;
#elif MOEPAR_CASE == 2
// Each of the two divides the world, both together do not.
// expected-error-2 {{moepar::Deployment: expert degree times the shard degree of experts must divide the world size.}}
// expected-number-2 {{Degree = 4}}
// expected-number-2 {{ExpertShardDegree = 4}}
// expected-number-2 {{WorldSize = 8}}
struct Model : mp::HybridShard<Inner<4>, 4> {};
using World = mp::World<8>;
#elif MOEPAR_CASE == 3
// A shard degree of its own for experts.
// expected-error-3 {{moepar::Deployment: expert degree times the shard degree of experts must divide the world size.}}
// expected-number-3 {{ExpertShardDegree = 8}}
struct Model : mp::HybridShard<Inner<2>, 8, 8> {};
using World = mp::World<8>;
#elif MOEPAR_CASE == 4
// expected-error-4 {{moepar::HybridShard: a shard degree is 0 (the whole world), 1 (no sharding) or a number of ranks.}}
// expected-number-4 {{ShardDegree = -2}}
struct Model : mp::HybridShard<Inner<2>, -2> {};
using World = mp::World<8>;
#elif MOEPAR_CASE == 5
// expected-error-5 {{moepar::HybridShard: a shard degree is 0 (the whole world), 1 (no sharding) or a number of ranks.}}
// expected-number-5 {{ShardDegree = -3}}
struct Model : mp::HybridShard<Inner<2>, 2, -3> {};
using World = mp::World<8>;
#elif MOEPAR_CASE == 6
// expected-error-6 {{moepar::World: a world has 1 to 2^24 ranks.}}
// expected-number-6 {{WorldSize = 0}}
struct Model : mp::HybridShard<Inner<2>, 2> {};
using World = mp::World<0>;
#elif MOEPAR_CASE == 7
// expected-error-7 {{moepar::World: a world has 1 to 2^24 ranks.}}
// expected-number-7 {{WorldSize = -8}}
struct Model : mp::HybridShard<Inner<2>, 0> {};
using World = mp::World<-8>;
#elif MOEPAR_CASE == 8
// expected-error-8 {{moepar::World: a world has 1 to 2^24 ranks.}}
// expected-number-8 {{WorldSize = 1099511627776}}
struct Model : mp::HybridShard<Inner<2>, 0> {};
using World = mp::World<(mp::Index{1} << 40)>;
#elif MOEPAR_CASE == 9
// A product that does not fit 64 bits.
// expected-error-9 {{moepar::Deployment: expert degree times the shard degree of experts must divide the world size.}}
// expected-number-9 {{ExpertShardDegree = 4611686018427387904}}
struct Model : mp::HybridShard<Inner<4>, 2, (mp::Index{1} << 62)> {};
using World = mp::World<8>;
#else
struct Model : mp::HybridShard<Inner<2>, 0, 4> {};
using World = mp::World<8>;
#endif

using Job = mp::Deployment<Model, World>;
static_assert(Job::memory({.sequences = 4, .length = 512}).bytes_per_rank < 1'000'000'000);
static_assert(Job::state(mp::Precision::bf16).total() <= 1'000'000'000);
