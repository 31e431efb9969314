// SPDX-License-Identifier: Apache-2.0
// Wrappers that stand twice, and degrees that differ inside one model.
#include <moepar/model.hpp>

namespace mp = moepar;

struct Plain : mp::Experts<mp::SwiGlu<64, 128>, 8> {};
template <mp::Index Degree> struct Experts : mp::ExpertParallel<Plain, Degree> {};
template <class AnyExperts>
struct Block : mp::TransformerBlock<mp::Attention<64, 8, 2>, mp::Moe<mp::Router<mp::TopKSoftmax, 2>, AnyExperts>> {};

// Two stacks of blocks, one behind the other: a module of one's own, which states nothing about what is inside.
template <class First, class Second> struct Two {
  static constexpr mp::ModuleFacts facts{.hidden = 64};
  mp::Repeat<First, 2> first{};
  mp::Repeat<Second, 2> second{};
  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("first", self.first);
    walk("second", self.second);
  }
};

#if MOEPAR_CASE == 1
// expected-error-1 {{moepar::HybridShard: a parameter is sharded once.}}
// expected-number-1 {{Wrappers = 2}}
struct Inner : mp::HybridShard<Block<Experts<2>>, 2> {};
struct Model : mp::HybridShard<mp::CausalLm<320, mp::Repeat<mp::Recompute<Inner>, 4>>, 2> {};
#elif MOEPAR_CASE == 2
// expected-error-2 {{moepar::ExpertParallel: experts are spread over ranks once.}}
// expected-number-2 {{Wrappers = 2}}
struct Twice : mp::ExpertParallel<Experts<2>, 4> {};
struct Model : mp::HybridShard<mp::CausalLm<320, mp::Repeat<Block<Twice>, 4>>, 2> {};
#elif MOEPAR_CASE == 3
// expected-error-3 {{moepar::Deployment: all experts of a model must have the same expert degree}}
// expected-number-3 {{FirstDegree = 2}}
// expected-number-3 {{SecondDegree = 4}}
struct Model : mp::HybridShard<mp::CausalLm<320, Two<Block<Experts<2>>, Block<Experts<4>>>>, 2> {};
#elif MOEPAR_CASE == 4
// Experts without ExpertParallel have degree 1.
// expected-error-4 {{moepar::Deployment: all experts of a model must have the same expert degree}}
// expected-number-4 {{FirstDegree = 2}}
// expected-number-4 {{SecondDegree = 1}}
struct Model : mp::HybridShard<mp::CausalLm<320, Two<Block<Experts<2>>, Block<Plain>>>, 2> {};
#elif MOEPAR_CASE == 5
// expected-error-5 {{moepar::Deployment: every HybridShard of a model must have the same degree for one kind of parameter.}}
// expected-number-5 {{FirstDegree = 2}}
// expected-number-5 {{SecondDegree = 4}}
struct Model : mp::CausalLm<320, Two<mp::HybridShard<Block<Experts<2>>, 2>, mp::HybridShard<Block<Experts<2>>, 4>>> {};
#elif MOEPAR_CASE == 6
// The same for experts.
// expected-error-6 {{moepar::Deployment: every HybridShard of a model must have the same degree for one kind of parameter.}}
// expected-number-6 {{FirstDegree = 2}}
// expected-number-6 {{SecondDegree = 4}}
template <class AnyBlock, mp::Index ExpertShardDegree>
struct Sharded : mp::HybridShard<AnyBlock, 2, ExpertShardDegree> {};
struct Model : mp::CausalLm<320, Two<Sharded<Block<Experts<2>>, 2>, Sharded<Block<Experts<2>>, 4>>> {};
#elif MOEPAR_CASE == 7
// Experts that hold experts.
// expected-error-7 {{moepar::Experts: an expert holds no experts of its own.}}
// expected-number-7 {{Depth = 2}}
struct Model : Block<mp::Experts<mp::Experts<mp::SwiGlu<64, 128>, 2>, 4>> {};
#elif MOEPAR_CASE == 8
// A wrong degree inside a module of one's own, which has no rules.
// expected-error-8 {{moepar::ExpertParallel: Degree must divide the number of experts.}}
// expected-number-8 {{Degree = 3}}
struct Model
    : mp::HybridShard<mp::CausalLm<320, mp::Repeat<mp::Recompute<Two<Block<Experts<3>>, Block<Plain>>>, 4>>, 2> {};
#elif MOEPAR_CASE == 9
// A right degree inside a module of one's own, on the wrong world.
// expected-error-9 {{moepar::Deployment: expert degree times the shard degree of experts must divide the world size.}}
// expected-number-9 {{Degree = 8}}
struct Model : mp::HybridShard<mp::CausalLm<320, Two<Block<Experts<8>>, Block<Experts<8>>>>, 2> {};
#else
struct Model : mp::CausalLm<320, Two<mp::HybridShard<Block<Experts<2>>, 2>, mp::HybridShard<Block<Experts<2>>, 2>>> {};
#endif

using Job = mp::Deployment<Model, mp::World<8>>;
static_assert(Job::memory({.sequences = 4, .length = 512}).bytes_per_rank < 1'000'000'000);
