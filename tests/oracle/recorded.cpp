// SPDX-License-Identifier: Apache-2.0
// The programs of all recorded cases in one: the first argument names the case, the others are those of its program.
//   recorded plain logits --checkpoint ...
#include <cstdio>
#include <moepar/model_program.hpp>
#include <moepar/moe.hpp>
#include <string>

namespace mp = moepar;
using mp::Index;

namespace {

//! Sizes under the names of config.json, in the order of the columns below.
struct Sizes {
  Index hidden, intermediate, vocabulary, layers, heads, kv_heads, experts, top_k, head_dim = 0;
  bool tied = false;
};

template <Sizes S>
struct Layer : mp::Moe<mp::Router<mp::RoundAuxiliaryLoss, S.top_k>,
                       mp::ExpertParallel<mp::Experts<mp::SwiGlu<S.hidden, S.intermediate>, S.experts>, 1>> {};
template <Sizes S>
struct Block : mp::TransformerBlock<mp::Attention<S.hidden, S.heads, S.kv_heads, S.head_dim>, Layer<S>> {};
template <Sizes S>
struct Model : mp::HybridShard<mp::CausalLm<S.vocabulary, mp::Repeat<Block<S>, S.layers>,
                                            S.tied ? mp::HeadWeights::tied : mp::HeadWeights::own>,
                               1> {};

template <Sizes S> int run(int argc, char** argv, double theta, double epsilon) {
  return mp::model_program<mp::Deployment<Model<S>, mp::World<1>>>(argc, argv,
                                                                   {.norm_epsilon = epsilon, .rotary_theta = theta});
}

struct Case {
  const char* name;
  int (*run)(int, char**, double, double);
  double theta = 1e6, epsilon = 1e-5;
};

constexpr Case cases[] = {
    {"plain", run<{24, 17, 51, 2, 4, 2, 4, 2}>, 1e4},
    {"right_padding", run<{20, 33, 97, 1, 4, 1, 2, 1, 6}>},
    {"left_padding", run<{36, 17, 51, 2, 6, 3, 3, 2}>, 1e4, 1e-6},
    {"mixed_padding", run<{20, 17, 97, 2, 4, 4, 8, 2, 4}>},
    {"eight_heads", run<{32, 17, 51, 2, 8, 2, 4, 3, 0, true}>},
    {"tied", run<{20, 33, 97, 1, 4, 2, 2, 2, 10, true}>, 1e4, 1e-6},
    {"peaked", run<{36, 9, 51, 2, 6, 3, 6, 1}>},
    {"flat", run<{20, 17, 51, 2, 4, 2, 8, 4, 8}>, 1e4},
    {"starved", run<{24, 17, 51, 2, 4, 4, 5, 2}>},
    {"square_gate_up", run<{32, 16, 51, 2, 4, 2, 4, 2}>, 1e4},
    {"square_down", run<{24, 24, 51, 1, 4, 1, 3, 2}>},
    {"sharded", run<{20, 17, 97, 3, 4, 4, 4, 4, 6}>, 1e6, 1e-2},
    {"version_4", run<{24, 17, 51, 1, 4, 2, 4, 2}>, 1e4},
    {"one_token", run<{20, 17, 51, 2, 4, 2, 4, 2, 6}>},
    {"float32", run<{36, 17, 51, 2, 6, 3, 2, 1}>},
    {"wide_head", run<{20, 17, 51, 1, 4, 2, 4, 2, 16}>, 1e4},
};

}  // namespace

int main(int argc, char** argv) {
  for (const Case& each : cases)
    if (argc > 1 && std::string{argv[1]} == each.name) return each.run(argc - 1, argv + 1, each.theta, each.epsilon);
  std::fprintf(stderr, "recorded: the first argument must name a recorded case\n");
  return 2;
}
