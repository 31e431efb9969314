// SPDX-License-Identifier: Apache-2.0
// Which class is what, and facts as they pass through wrappers.
#include <moepar/moe.hpp>

namespace mp = moepar;
using mp::Index;

namespace {

struct NoMembers {
  static constexpr mp::ModuleFacts facts{.hidden = 8};
};
struct NoFacts {
  template <class Self, class Walker> static constexpr void members(Self&, Walker&) {}
};
struct Own {
  static constexpr mp::ModuleFacts facts{.hidden = 8};
  mp::Parameter scale{1, 8};
  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("scale", self.scale);
  }
};

static_assert(!mp::module_type<int> && !mp::module_type<NoMembers> && !mp::module_type<NoFacts>);
static_assert(mp::module_type<Own> && mp::module_type<mp::SwiGlu<8, 8>>);
static_assert(mp::router<mp::Router<mp::Sinkhorn, 2>> && !mp::router<Own>);
static_assert(mp::router_policy<mp::AuxiliaryLoss> && !mp::router_policy<Own>);
static_assert(mp::world<mp::World<8>> && !mp::world<Own>);
static_assert(mp::compute_rank<mp::CountingRank<float>> && mp::compute_rank<mp::SingleRank<double>>);
static_assert(mp::computes_rows<mp::SwiGlu<8, 8>, float> && mp::computes_rows<mp::Linear<8, 8>, double>);
static_assert(mp::computes_rows<mp::Attention<8, 2>, float> && !mp::computes_rows<mp::Repeat<Own, 2>>);

// A module of one's own is wrapped like any other.
struct OwnExperts : mp::ExpertParallel<mp::Experts<Own, 6>, 3> {};
struct OwnMoe : mp::Moe<mp::Router<mp::TopKSoftmax, 2>, OwnExperts> {};
struct OwnStack : mp::HybridShard<mp::Repeat<mp::Recompute<OwnMoe>, 5>, 2, 1> {};
using OwnJob = mp::Deployment<OwnStack, mp::World<6>>;
static_assert(OwnJob::degrees.expert == 3 && OwnJob::degrees.shard == 2 && OwnJob::degrees.expert_shard == 1);
static_assert(OwnJob::census.routed_columns == 5 * 2 * 8 && OwnJob::census.recomputed_columns == 5 * 2 * 8);
static_assert(OwnJob::parameters().expert == 5 * 6 * 8 && OwnJob::parameters().dense == 5 * 6 * 8);
static_assert(OwnJob::parameters().active == 5 * (2 * 8 + 6 * 8));
static_assert(OwnJob::layout.expert_shard == 1 && OwnJob::layout.dense_shard == 2);

// A composite of one's own states nothing about what is wrapped inside: the walk finds it.
struct Composite {
  static constexpr mp::ModuleFacts facts{.hidden = 8};
  mp::Linear<8, 8> first{};
  OwnMoe second{};
  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("first", self.first);
    walk("second", self.second);
  }
};
struct Sharded : mp::HybridShard<mp::Repeat<Composite, 3>, 2> {};
using CompositeJob = mp::Deployment<Sharded, mp::World<6>>;
static_assert(CompositeJob::layout.expert == 3 && CompositeJob::layout.expert_shard == 2);
static_assert(CompositeJob::parameters_of_rank().expert == 3 * 8);  // 6 experts over 3 ranks: 2 blocks, one a shard

// A field that happens to be called `valid` means nothing to us.
struct Valid : Own {
  bool valid = true;
};
static_assert(mp::Deployment<mp::HybridShard<Valid, 2>, mp::World<4>>::layout.dense_shard == 2);

// The plan of a module that computes holds its step; of one that has no forward and backward, the state alone.
static_assert(mp::Deployment<mp::SwiGlu<64, 128>, mp::World<1>>::memory({.sequences = 2, .length = 3}) ==
              mp::MemoryPlan{.parameters = 98304,
                             .gradients = 98304,
                             .optimizer = 196608,
                             .arenas = {.activations = 6 * (6 * 128) * 4},
                             .step_counted = true,
                             .bytes_per_rank = 393216 + 18432});
static_assert(!OwnJob::memory({}).step_counted);

// Many layers within every compiler's default limits.
struct Deep : mp::HybridShard<mp::CausalLm<32000, mp::Repeat<mp::Mixtral8x7BBlock<8, mp::Sinkhorn>, 4096>>, 64> {};
static_assert(mp::Deployment<Deep, mp::World<1024>>::parameters().total() ==
              4096 * (46'702'792'704 - 262'148'096) / 32 + 262'148'096);

}  // namespace
