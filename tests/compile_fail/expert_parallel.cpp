// SPDX-License-Identifier: Apache-2.0
// Degree of ExpertParallel, four wrappers deep in a model that is used in every way a program uses one.
#include <moepar/model.hpp>

namespace mp = moepar;

template <mp::Index Degree> struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<64, 128>, 8>, Degree> {};
template <mp::Index Degree> struct MoeLayer : mp::Moe<mp::Router<mp::Sinkhorn, 2>, Experts<Degree>> {};
template <mp::Index Degree>
struct Block : mp::Recompute<mp::TransformerBlock<mp::Attention<64, 8, 2>, MoeLayer<Degree>>> {};

#if MOEPAR_CASE == 1
// Eight experts do not spread evenly over three ranks.
// expected-error-1 {{moepar::ExpertParallel: Degree must divide the number of experts.}}
// expected-number-1 {{Degree = 3}}
// expected-number-1 {{ExpertCount = 8}}
struct Model : mp::HybridShard<mp::CausalLm<320, mp::Repeat<Block<3>, 4>>, 2> {};
using World = mp::World<6>;
#elif MOEPAR_CASE == 2
// expected-error-2 {{moepar::ExpertParallel: Degree must divide the number of experts.}}
// expected-number-2 {{Degree = 0}}
struct Model : mp::HybridShard<mp::CausalLm<320, mp::Repeat<Block<0>, 4>>, 2> {};
using World = mp::World<8>;
#elif MOEPAR_CASE == 3
// expected-error-3 {{moepar::ExpertParallel: Degree must divide the number of experts.}}
// expected-number-3 {{Degree = -1}}
struct Model : mp::HybridShard<mp::CausalLm<320, mp::Repeat<Block<-1>, 4>>, 2> {};
using World = mp::World<8>;
#elif MOEPAR_CASE == 4
// Four ranks an expert group, six ranks in the world.
// expected-error-4 {{moepar::ExpertParallel: Degree must divide the world size.}}
// expected-number-4 {{Degree = 4}}
// expected-number-4 {{WorldSize = 6}}
struct Model : mp::HybridShard<mp::CausalLm<320, mp::Repeat<Block<4>, 4>>, 1> {};
using World = mp::World<6>;
#else
struct Model : mp::HybridShard<mp::CausalLm<320, mp::Repeat<Block<4>, 4>>, 2> {};
using World = mp::World<8>;
#endif

using Job = mp::Deployment<Model, World>;
static_assert(Job::memory({.sequences = 4, .length = 512}).bytes_per_rank < 1'000'000'000);
static_assert(Job::parameters().total() == 870'976);
static_assert(Job::layout.expert_group(0).rank == 0);
static_assert(Job::traffic({.sequences = 1, .length = 8}).total() >= 0);

mp::Index use() {
  const auto body = []<class AnyJob>() { return AnyJob::state().total() + AnyJob::parameters().total(); };
  return body.template operator()<Job>();
}
