// SPDX-License-Identifier: Apache-2.0
// Programs of one model on several layouts in one: the first argument names the layout, the others are those of its
// program.
//   worlds ep8 train --seed 1 ...
#include <cstdio>
#include <moepar/model_program.hpp>
#include <moepar/moe.hpp>
#include <string>

namespace mp = moepar;
using mp::Index;

namespace {

template <Index Degree> struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<24, 20>, 8>, Degree> {};
template <Index Degree> struct Layer : mp::Moe<mp::Router<mp::RoundAuxiliaryLoss, 2>, Experts<Degree>> {};
template <Index Degree> struct Block : mp::TransformerBlock<mp::Attention<24, 4, 2>, Layer<Degree>> {};
template <Index Degree, Index Shard>
struct Model : mp::HybridShard<mp::CausalLm<40, mp::Repeat<Block<Degree>, 2>, mp::HeadWeights::tied>, Shard> {};

constexpr const char* config = R"({
  "architectures": ["MixtralForCausalLM"],
  "model_type": "mixtral",
  "vocab_size": 40,
  "hidden_size": 24,
  "intermediate_size": 20,
  "num_hidden_layers": 2,
  "num_attention_heads": 4,
  "num_key_value_heads": 2,
  "num_local_experts": 8,
  "num_experts_per_tok": 2,
  "rms_norm_eps": 1e-05,
  "rope_theta": 10000.0,
  "tie_word_embeddings": true
}
)";

template <Index World, Index Degree, Index Shard> int run(int argc, char** argv) {
  return mp::model_program<mp::Deployment<Model<Degree, Shard>, mp::World<World>>>(
      argc, argv, {.rotary_theta = 1e4, .initial_deviation = 0.3, .config = config});
}

struct Layout {
  const char* name;
  int (*run)(int, char**);
};
constexpr Layout layouts[] = {
    {"ep1", run<1, 1, 1>}, {"ep2", run<2, 2, 1>}, {"ep4", run<4, 4, 1>}, {"ep8", run<8, 8, 1>}, {"mixed", run<8, 2, 0>},
};

}  // namespace

int main(int argc, char** argv) {
  for (const Layout& each : layouts)
    if (argc > 1 && std::string{argv[1]} == each.name) return each.run(argc - 1, argv + 1);
  std::fprintf(stderr, "worlds: the first argument must be ep1, ep2, ep4, ep8 or mixed\n");
  return 2;
}
