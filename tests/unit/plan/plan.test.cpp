// SPDX-License-Identifier: Apache-2.0
// What a model on a world costs: types against numbers, formulas against sums over ranks.
#include <doctest/doctest.h>

#include <moepar/moe.hpp>
#include <numeric>
#include <string>
#include <vector>

namespace mp = moepar;
using mp::Index;

namespace {

template <Index Hidden, Index Intermediate, Index Layers, Index Heads, Index KvHeads, Index Vocabulary, Index Count,
          Index TopK, mp::HeadWeights Head = mp::HeadWeights::own, Index HeadSize = 0>
struct Typed
    : mp::HybridShard<
          mp::CausalLm<Vocabulary,
                       mp::Repeat<mp::TransformerBlock<mp::Attention<Hidden, Heads, KvHeads, HeadSize>,
                                                       mp::Moe<mp::Router<mp::TopKSoftmax, TopK>,
                                                               mp::Experts<mp::SwiGlu<Hidden, Intermediate>, Count>>>,
                                  Layers>,
                       Head>,
          1> {};

// The entries of a census that look alike, in a fixed order, as text.
std::string text(const mp::Census& census) {
  std::vector<std::string> lines;
  for (const auto& entry : census)
    lines.push_back(std::to_string(static_cast<int>(entry.kind)) + (entry.sharded ? " sharded " : " whole ") +
                    std::to_string(entry.elements) + " x " + std::to_string(entry.copies) + " active " +
                    std::to_string(entry.active) + ": " + std::to_string(entry.count));
  lines.push_back("routed " + std::to_string(census.routed_columns) + ", again " +
                  std::to_string(census.recomputed_columns) + ", of " + std::to_string(census.expert_count));
  std::sort(lines.begin(), lines.end());
  return std::accumulate(lines.begin(), lines.end(), std::string{},
                         [](std::string all, const std::string& line) { return all + line + '\n'; });
}

std::vector<mp::Layout> legal_layouts(Index world, Index experts) {
  std::vector<mp::Layout> all;
  for (Index expert = 1; expert <= world; ++expert)
    for (Index dense = 1; dense <= world; ++dense)
      for (Index shard = 1; shard <= world; ++shard)
        for (const auto axis : {mp::ExpertAxis::innermost, mp::ExpertAxis::outermost}) {
          const mp::Layout layout{world, 1, expert, dense, shard, axis};
          if (experts % expert == 0 && layout.legal()) all.push_back(layout);
        }
  return all;
}

}  // namespace

TEST_CASE("a model of numbers has the census of the type") {
  CHECK(text(mp::census_of(mp::mixtral_8x7b, true)) == text(mp::census_of<mp::Mixtral8x7B<2, 4>>()));
  CHECK(text(mp::census_of({.vocab_size = 320,
                            .hidden_size = 64,
                            .intermediate_size = 100,
                            .num_hidden_layers = 3,
                            .num_attention_heads = 8,
                            .num_key_value_heads = 2,
                            .num_local_experts = 6,
                            .num_experts_per_tok = 3},
                           false)) == text(mp::census_of<Typed<64, 100, 3, 8, 2, 320, 6, 3>>()));
  CHECK(text(mp::census_of({.vocab_size = 31,
                            .hidden_size = 24,
                            .intermediate_size = 24,
                            .num_hidden_layers = 1,
                            .num_attention_heads = 3,
                            .num_key_value_heads = 1,
                            .head_dim = 10,
                            .num_local_experts = 1,
                            .num_experts_per_tok = 1,
                            .tie_word_embeddings = true},
                           false)) ==
        text(mp::census_of<Typed<24, 24, 1, 3, 1, 31, 1, 1, mp::HeadWeights::tied, 10>>()));
}

TEST_CASE("impossible sizes are refused in the compiler's words") {
  CHECK_NOTHROW(mp::check_sizes(mp::mixtral_8x7b));
  CHECK_THROWS_WITH_AS(mp::check_sizes({.num_experts_per_tok = 9}),
                       "moepar::Moe: TopK must be between 1 and the number of experts (TopK = 9, ExpertCount = 8). "
                       "Fix: change TopK of the Router.",
                       mp::Error);
  CHECK_THROWS_AS(mp::check_sizes({.hidden_size = 0}), mp::Error);
  CHECK_THROWS_AS(mp::check_sizes({.num_attention_heads = 7}), mp::Error);
  CHECK_THROWS_AS(mp::check_sizes({.num_key_value_heads = 5}), mp::Error);
  CHECK_THROWS_AS(mp::check_sizes({.head_dim = 3}), mp::Error);
}

TEST_CASE("shards of all ranks add up to the model, and rank 0 holds the most") {
  struct Model : Typed<24, 1000, 2, 3, 1, 999, 6, 2> {};
  const auto census = mp::census_of<Model>();
  for (const Index world : {1, 2, 3, 4, 6, 8, 12})
    for (const auto& layout : legal_layouts(world, 6)) {
      mp::ParameterCount sum;
      const auto most = mp::parameters_of_rank(census, layout, 0);
      for (Index rank = 0; rank < world; ++rank) {
        const auto held = mp::parameters_of_rank(census, layout, rank);
        sum.dense += held.dense;
        sum.expert += held.expert;
        CHECK(held.dense <= most.dense);
        CHECK(held.expert <= most.expert);
      }
      CHECK(sum.dense == layout.replica_degree(mp::Kind::dense) * census.parameters().dense);
      CHECK(sum.expert == layout.replica_degree(mp::Kind::expert) * census.parameters().expert);
    }
}

TEST_CASE("parameters outside a HybridShard stand whole on every rank") {
  struct Half : mp::Repeat<mp::TransformerBlock<mp::HybridShard<mp::Attention<64, 8>, 4>, mp::SwiGlu<64, 128>>, 1> {};
  using Job = mp::Deployment<Half, mp::World<4>>;
  constexpr Index attention = 4 * 64 * 64, rest = 3 * 64 * 128 + 2 * 64;
  CHECK(Job::parameters().total() == attention + rest);
  CHECK(Job::parameters_of_rank().total() == attention / 4 + rest);
  // Sums of the whole parts go over all four ranks, those of the sharded part into their owners.
  const auto traffic = Job::traffic({});
  CHECK(traffic.gather == 2 * attention * 4 * 3 / 4);
  CHECK(traffic.reduce == attention * 4 * 3 / 4);
  CHECK(traffic.replicate == 2 * rest * 4 * 3 / 4);
}

TEST_CASE("traffic by axis: Mixtral 8x7B, the formulas in words") {
  const auto census = mp::census_of(mp::mixtral_8x7b, true);
  const mp::StepShape shape{.sequences = 1, .length = 4096, .precision = mp::Precision::bf16};
  const auto layout = mp::checked_layout({.expert = 8, .shard = 4}, 64, 8);
  const auto traffic = mp::traffic_of_rank(census, layout, shape);
  const Index dense = census.parameters().dense, expert = census.parameters().expert;
  CHECK(traffic.gather == 2 * (dense + expert / 8) * 2 * 3 / 4);  // twice, two bytes, three quarters from others
  CHECK(traffic.reduce == (dense + expert / 8) * 4 * 3 / 4);
  CHECK(traffic.replicate == 2 * (dense / 4 * 4 * 15 / 16 + expert / 8 / 4 * 4 * 1 / 2));
  // Two rows of 4096 elements a token and layer, to the experts and back, forward, again, and backward.
  CHECK(traffic.exchange == Index{6} * 32 * 4096 * 2 * 4096 * 2 * 7 / 8);
  SUBCASE("one rank sends nothing") { CHECK(mp::traffic_of_rank(census, mp::Layout{}, shape).total() == 0); }
  SUBCASE("recomputation is read off the type") {
    using Job = mp::Deployment<mp::Mixtral8x7B<8, 4>, mp::World<64>>;
    CHECK(Job::traffic(shape) == traffic);
    CHECK(Job::census.routed_columns == census.routed_columns);
  }
}

TEST_CASE("the smallest shard degree that fits is the first of all legal ones that fits") {
  const auto census = mp::census_of(mp::mixtral_8x7b, true);
  for (const Index world : {1, 2, 6, 7, 16, 48, 64, 1 << 20})
    for (const Index expert : {1, 2, 4, 8}) {
      std::vector<Index> tried;
      mp::any_shard_degree(world, expert, [&](Index shard) {
        tried.push_back(shard);
        CHECK_NOTHROW((void)mp::checked_layout({.expert = expert, .shard = shard}, world, 8));
        return false;
      });
      if (world % expert != 0) {
        CHECK(tried.empty());
        continue;
      }
      std::vector<Index> expected;
      for (Index shard = 1; shard <= world / expert; ++shard)
        if (world / expert % shard == 0) expected.push_back(shard);
      if (expert > 1) expected.push_back(0);
      CHECK(tried == expected);
      for (const Index bytes : {Index{1}, 10'000'000'000, 80'000'000'000, Index{1} << 60}) {
        const auto found = mp::smallest_shard_degree_that_fits(census, world, expert, bytes, mp::Precision::f32);
        const auto fits = [&](Index shard) {
          const auto layout = mp::layout_of({.expert = expert, .shard = shard}, world);
          return mp::state_of_rank(census, layout, mp::Precision::f32).total() <= bytes;
        };
        const auto first = std::find_if(expected.begin(), expected.end(), fits);
        CHECK(found.has_value() == (first != expected.end()));
        if (found) CHECK(*found == *first);
      }
    }
}

TEST_CASE("a degree of parameters that a model does not have binds nothing") {
  struct Attention : mp::HybridShard<mp::Attention<64, 8>, 8> {};
  struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<64, 128>, 8>, 2> {};
  struct Block : mp::TransformerBlock<Attention, mp::Moe<mp::Router<mp::Sinkhorn, 2>, Experts>> {};
  using Job = mp::Deployment<Block, mp::World<8>>;  // dense shards of 8, experts whole: 2 x 8 need not divide 8
  CHECK(Job::layout == mp::Layout{.world = 8, .expert = 2, .dense_shard = 8, .expert_shard = 1});
}

TEST_CASE("what an expert is wrapped in counts") {
  struct Expert : mp::HybridShard<mp::SwiGlu<64, 128>, 4> {};
  struct Moe : mp::Moe<mp::Router<mp::Sinkhorn, 2>, mp::ExpertParallel<mp::Experts<Expert, 8>, 2>> {};
  using Job = mp::Deployment<Moe, mp::World<8>>;
  CHECK(Job::layout.expert_shard == 4);
  CHECK(Job::parameters_of_rank().expert == 8 / 2 * 3 * 64 * 128 / 4);
  CHECK(Job::parameters_of_rank().dense == 8 * 64);  // the gate is not sharded
}

TEST_CASE("a step that cannot run in a precision is not counted") {
  using Job = mp::Deployment<mp::SwiGlu<64, 128>, mp::World<1>>;
  CHECK(Job::memory({.sequences = 2, .length = 3}).step_counted);
  CHECK(!Job::memory({.sequences = 2, .length = 3, .precision = mp::Precision::bf16}).step_counted);
}

namespace {
template <Index Degree>
struct AnyDegree
    : mp::HybridShard<
          mp::Repeat<mp::TransformerBlock<mp::Attention<64, 8>,
                                          mp::Moe<mp::Router<mp::Sinkhorn, 2>,
                                                  mp::ExpertParallel<mp::Experts<mp::SwiGlu<64, 128>, 12>, Degree>>>,
                     2>,
          2> {};
template <Index Count, Index Degree>
struct Layer
    : mp::Moe<mp::Router<mp::Sinkhorn, 2>, mp::ExpertParallel<mp::Experts<mp::SwiGlu<64, 128>, Count>, Degree>> {};
template <Index Degree> struct AnyMixed {
  static constexpr mp::ModuleFacts facts{.hidden = 64};
  Layer<8, Degree> first{};
  Layer<12, Degree> second{};
  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("first", self.first);
    walk("second", self.second);
  }
};
struct NoExperts : mp::SwiGlu<64, 128> {};
template <Index> struct AnyNoExperts : NoExperts {};
}  // namespace

TEST_CASE("a degree that only the run knows picks a compiled layout") {
  const auto degree_of = []<class Job>() { return Job::layout.expert; };
  for (const Index degree : {1, 2, 3, 6})
    CHECK(mp::with_expert_degree<AnyDegree, mp::World<12>>(degree, degree_of) == degree);
  // 4 and 12 divide the experts, but not what two-fold shards leave of twelve ranks.
  for (const Index degree : {0, -1, 4, 5, 12, 24})
    CHECK_THROWS_WITH_AS((mp::with_expert_degree<AnyDegree, mp::World<12>>(degree, degree_of)),
                         ("moepar::ExpertParallel: no layout of this model on 12 ranks has Degree " +
                          std::to_string(degree) + ". Fix: choose one of 1, 2, 3, 6.")
                             .c_str(),
                         mp::Error);
  CHECK(mp::with_expert_degree<AnyMixed, mp::World<8>>(4, degree_of) == 4);  // layers of 8 and of 12 experts: 1, 2, 4
  CHECK_THROWS_AS((mp::with_expert_degree<AnyMixed, mp::World<8>>(8, degree_of)), mp::Error);
  CHECK(mp::with_expert_degree<AnyNoExperts, mp::World<3>>(1, degree_of) == 1);
  CHECK_THROWS_AS((mp::with_expert_degree<AnyNoExperts, mp::World<3>>(3, degree_of)), mp::Error);
  CHECK_NOTHROW((mp::check_launched_world<mp::Deployment<AnyDegree<2>, mp::World<12>>>(12)));
  CHECK_THROWS_AS((mp::check_launched_world<mp::Deployment<AnyDegree<2>, mp::World<12>>>(11)), mp::Error);
}
