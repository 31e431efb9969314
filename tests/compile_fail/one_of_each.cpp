// SPDX-License-Identifier: Apache-2.0
// Wrappers that stand twice, and degrees that differ inside one model.
#include <moepar/moe.hpp>

namespace mp = moepar;

struct Plain : mp::Experts<mp::SwiGlu<64, 128>, 8> {};
template <mp::Index Degree> struct Experts : mp::ExpertParallel<Plain, Degree> {};
template <class AnyExperts>
struct Block : mp::TransformerBlock<mp::Attention<64, 8, 2>, mp::Moe<mp::Router<mp::TopKSoftmax, 2>, AnyExperts>> {};

// Two stacks of blocks, one behind the other.
template <class First, class Second> struct Two {
  static constexpr bool valid = mp::children_intact<First, Second>();
  static constexpr mp::ModuleFacts facts = mp::combine(mp::facts_of<First>(), mp::facts_of<Second>());
  mp::Repeat<First, 2> first{};
  mp::Repeat<Second, 2> second{};
  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("first", self.first);
    walk("second", self.second);
  }
};

#if MOEPAR_CASE == 1
// expected-error-1 {{moepar::HybridShard: a parameter is sharded once.}}
// expected-number-1 {{InnerWrappers = 1}}
struct Inner : mp::HybridShard<Block<Experts<2>>, 2> {};
struct Model : mp::HybridShard<mp::CausalLm<320, mp::Repeat<mp::Recompute<Inner>, 4>>, 2> {};
#elif MOEPAR_CASE == 2
// expected-error-2 {{moepar::ExpertParallel: experts are spread over ranks once.}}
// expected-number-2 {{InnerWrappers = 1}}
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
// expected-error-5 {{moepar::Deployment: every HybridShard of a model must have the same ShardDegree.}}
// expected-number-5 {{FirstDegree = 2}}
// expected-number-5 {{SecondDegree = 4}}
struct Model : mp::CausalLm<320, Two<mp::HybridShard<Block<Experts<2>>, 2>, mp::HybridShard<Block<Experts<2>>, 4>>> {};
#else
struct Model : mp::CausalLm<320, Two<mp::HybridShard<Block<Experts<2>>, 2>, mp::HybridShard<Block<Experts<2>>, 2>>> {};
#endif

using Job = mp::Deployment<Model, mp::World<8>>;
static_assert(Job::memory({.sequences = 4, .length = 512}).bytes_per_rank < 1'000'000'000);
