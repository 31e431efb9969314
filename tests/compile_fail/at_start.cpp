// SPDX-License-Identifier: Apache-2.0
// A degree that only the run knows needs at least one layout that is legal.
#include <moepar/model.hpp>

namespace mp = moepar;

template <mp::Index Degree> struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<64, 128>, 8>, Degree> {};
template <mp::Index Degree>
struct Block : mp::TransformerBlock<mp::Attention<64, 8, 2>, mp::Moe<mp::Router<mp::TopKSoftmax, 2>, Experts<Degree>>> {
};

#if MOEPAR_CASE == 1
// Three ranks a shard group on a world of eight: no expert degree mends that.
// expected-error-1 {{moepar::HybridShard: ShardDegree must divide the world size.}}
// expected-number-1 {{ShardDegree = 3}}
// expected-number-1 {{WorldSize = 8}}
template <mp::Index Degree> struct Model : mp::HybridShard<mp::CausalLm<320, mp::Repeat<Block<Degree>, 4>>, 3> {};
#else
template <mp::Index Degree> struct Model : mp::HybridShard<mp::CausalLm<320, mp::Repeat<Block<Degree>, 4>>, 2> {};
#endif

mp::Index bytes(mp::Index degree) {
  return mp::with_expert_degree<Model, mp::World<8>>(degree, []<class Job>() { return Job::state().total(); });
}
