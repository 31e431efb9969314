// SPDX-License-Identifier: Apache-2.0
// Things that are no module, no world, or of no size.
#include <moepar/model.hpp>

namespace mp = moepar;

struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<64, 128>, 8>, 2> {};
struct MoeLayer : mp::Moe<mp::Router<mp::TopKSoftmax, 2>, Experts> {};
struct Block : mp::TransformerBlock<mp::Attention<64, 8, 2>, MoeLayer> {};
struct NoModule {};
struct Settled : mp::HybridShard<mp::CausalLm<320, mp::Repeat<Block, 4>>, 2> {};

#if MOEPAR_CASE == 1
// expected-error-1 {{moepar: this place takes a module.}}
using Job = mp::Deployment<NoModule, mp::World<8>>;
#elif MOEPAR_CASE == 2
// expected-error-2 {{moepar: this place takes a module.}}
using Job = mp::Deployment<mp::HybridShard<mp::CausalLm<320, mp::Repeat<mp::Recompute<NoModule>, 4>>, 2>, mp::World<8>>;
#elif MOEPAR_CASE == 3
// expected-error-3 {{moepar: this place takes a module.}}
using Job = mp::Deployment<mp::HybridShard<NoModule, 2>, mp::World<8>>;
#elif MOEPAR_CASE == 4
// expected-error-4 {{moepar: this place takes a module.}}
struct Layer : mp::Moe<mp::Router<mp::TopKSoftmax, 2>, mp::ExpertParallel<mp::Experts<NoModule, 8>, 2>> {};
using Job = mp::Deployment<mp::TransformerBlock<mp::Attention<64, 8, 2>, Layer>, mp::World<8>>;
#elif MOEPAR_CASE == 5
// expected-error-5 {{moepar::Deployment: the second argument is the world.}}
using Job = mp::Deployment<Settled, NoModule>;
#elif MOEPAR_CASE == 6
// No layers.
// expected-error-6 {{moepar: every size of a module must be between 1 and 2^31.}}
// expected-number-6 {{Sizes = {0}}}
using Job = mp::Deployment<mp::HybridShard<mp::CausalLm<320, mp::Repeat<Block, 0>>, 2>, mp::World<8>>;
#elif MOEPAR_CASE == 7
// No experts.
// expected-error-7 {{moepar: every size of a module must be between 1 and 2^31.}}
// expected-number-7 {{Sizes = {0}}}
struct Layer : mp::Moe<mp::Router<mp::TopKSoftmax, 2>, mp::ExpertParallel<mp::Experts<mp::SwiGlu<64, 128>, 0>, 2>> {};
using Job = mp::Deployment<mp::TransformerBlock<mp::Attention<64, 8, 2>, Layer>, mp::World<8>>;
#elif MOEPAR_CASE == 8
// No vocabulary.
// expected-error-8 {{moepar: every size of a module must be between 1 and 2^31.}}
// expected-number-8 {{Sizes = {-1}}}
using Job = mp::Deployment<mp::CausalLm<-1, mp::Repeat<Block, 4>>, mp::World<8>>;
#elif MOEPAR_CASE == 9
// expected-error-9 {{moepar: every size of a module must be between 1 and 2^31.}}
// expected-number-9 {{Sizes = {64, 0}}}
using Job = mp::Deployment<mp::HybridShard<mp::SwiGlu<64, 0>, 2>, mp::World<8>>;
#elif MOEPAR_CASE == 10
// A size beyond every machine.
// expected-error-10 {{moepar: every size of a module must be between 1 and 2^31.}}
// expected-number-10 {{Sizes = {4611686018427387904, 2}}}
using Job = mp::Deployment<mp::HybridShard<mp::SwiGlu<(mp::Index{1} << 62), 2>, 2>, mp::World<8>>;
#elif MOEPAR_CASE == 11
// Something that is no module in the list of one's own.
// expected-error-11 {{moepar: a member that is listed must be a parameter or a module.}}
struct Own {
  static constexpr mp::ModuleFacts facts{.hidden = 64};
  mp::SwiGlu<64, 128> feed_forward{};
  int steps = 0;
  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("feed_forward", self.feed_forward);
    walk("steps", self.steps);
  }
};
using Job = mp::Deployment<mp::HybridShard<mp::Repeat<Own, 4>, 2>, mp::World<8>>;
#elif MOEPAR_CASE == 12
// Facts that are no constant.
// expected-error-12 {{moepar: this place takes a module.}}
struct Own {
  mp::ModuleFacts facts{.hidden = 64};
  template <class Self, class Walker> static constexpr void members(Self&, Walker&) {}
};
using Job = mp::Deployment<mp::HybridShard<Own, 2>, mp::World<8>>;
#elif MOEPAR_CASE == 13
// Experts whose rows come out with another width.
// expected-error-13 {{moepar: rows here must have one known width.}}
// expected-number-13 {{Hidden = -1}}
struct Layer : mp::Moe<mp::Router<mp::TopKSoftmax, 2>, mp::Experts<mp::Linear<64, 128>, 8>> {};
using Job = mp::Deployment<Layer, mp::World<8>>;
#else
using Job = mp::Deployment<Settled, mp::World<8>>;
#endif

static_assert(Job::memory({.sequences = 4, .length = 512}).bytes_per_rank >= 0);
static_assert(Job::parameters().total() >= 0);
