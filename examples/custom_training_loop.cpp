// SPDX-License-Identifier: Apache-2.0
// A training loop of your own: the trainer makes steps, the rest is yours. Here a model learns the next number of
// x -> (7 x + 3) mod 251, from sequences that each start anywhere, until it is nearly always right.
//
//   g++ -std=c++20 -O3 -I include examples/custom_training_loop.cpp -pthread && ./a.out
#include <cstdint>
#include <cstdio>
#include <moepar/moe.hpp>
#include <vector>

namespace mp = moepar;
using mp::Index;

constexpr Index numbers = 251, length = 16, most_steps = 400;

struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<32, 48>, 4>, /*Degree=*/2> {};
struct Block : mp::TransformerBlock<mp::Attention<32, /*heads*/ 4>, mp::Moe<mp::Router<mp::Sinkhorn, 1>, Experts>> {};
struct Model : mp::HybridShard<mp::CausalLm<numbers, mp::Repeat<Block, 1>>, /*ShardDegree=*/0> {};
using Job = mp::Deployment<Model, mp::World<2>>;

int main(int argc, char** argv) {
  bool learnt = false;
  const int code = mp::run<Job>(argc, argv, [&](auto& rank) {
    mp::Trainer trainer{rank, mp::AdamW{}, {.shape = {.sequences = 8, .length = length}, .initial_deviation = 0.1}};
    double smooth = 6, best = 6, rate = 4e-3;
    for (Index step = 1; step <= most_steps; ++step) {
      // Your own data: sequence i of a step is the same on every layout, each rank asks for its own.
      std::vector<std::int32_t> text(length + 1);
      const auto source = [&](Index i) {
        text[0] = static_cast<std::int32_t>(mp::random_word(mp::random_key(1, "start"), step, i) % numbers);
        for (std::size_t t = 0; t < length; ++t) text[t + 1] = (7 * text[t] + 3) % numbers;
        return mp::Sequence{std::span{text}.first(length), std::span{text}.last(length)};
      };
      const mp::StepOutcome outcome = trainer.step(source, rate);

      // Your own rules. The outcome is the same on every rank, so that all of them decide alike.
      smooth = 0.8 * smooth + 0.2 * outcome.loss;
      if (step % 25 == 0) rate = smooth < 0.9 * best ? rate : rate / 2;  // halve when the loss no longer falls
      if (step % 25 == 0 && smooth < best) best = smooth;
      const bool done = smooth < 0.05;
      if (rank.is_first() && (step == 1 || step % 25 == 0 || done))
        std::printf("step %3lld   loss %6.4f   gradient %6.4f   rate %.0e\n", static_cast<long long>(step),
                    outcome.loss, outcome.gradient_norm, rate);
      if (done && rank.is_first()) learnt = true;
      if (done) break;
    }
  });
  return code == 0 && learnt ? 0 : 1;
}
