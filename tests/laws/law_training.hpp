// SPDX-License-Identifier: Apache-2.0
#pragma once
// One small training, run under any layout: what the laws are tested on. Its batch has 24 sequences of 0, 1 and up to
// `length` tokens; some experts get no token; parameters are no multiples of a block; clipping is active.
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <moepar/moe.hpp>
#include <string>
#include <vector>

namespace law {

namespace mp = moepar;
using mp::Index;

constexpr Index hidden = 40, intermediate = 28, experts = 24, vocabulary = 61, length = 7, batch = 24, steps = 5;

template <class Policy, class Dispatcher = mp::AllToAll>
struct Moe : mp::Moe<mp::Router<Policy, 2>,
                     mp::ExpertParallel<mp::Experts<mp::SwiGlu<hidden, intermediate>, experts>, 1, Dispatcher>> {};
template <class Policy, class Dispatcher = mp::AllToAll>
struct Block : mp::TransformerBlock<mp::Attention<hidden, 4, 2>, Moe<Policy, Dispatcher>> {};

//! The degrees in the type are 1; the layout that a test runs it on is a value.
template <class Policy, class Dispatcher = mp::AllToAll>
struct Model : mp::HybridShard<mp::CausalLm<vocabulary, mp::Repeat<Block<Policy, Dispatcher>, 2>>, 1> {};
struct Tied
    : mp::HybridShard<mp::CausalLm<vocabulary, mp::Repeat<Block<mp::MegatronLoss>, 2>, mp::HeadWeights::tied>, 1> {};
template <class Policy>
struct Recomputed : mp::HybridShard<mp::CausalLm<vocabulary, mp::Repeat<mp::Recompute<Block<Policy>>, 2>>, 1> {};

struct Setting {
  mp::Layout layout{};
  Index micro_steps = 1;
  Index receive_rows = 0;
  Index workers = 1;
  bool poison = false;     //!< memory is full of NaN before the first step
  double initial = 0.3;    //!< standard deviation of initial values
  bool one_token = false;  //!< every token of the batch is the same
};

//! What must not depend on a layout: hash of parameters and optimizer state, and of everything that was reported.
struct Bits {
  std::uint64_t state = 0;
  std::uint64_t reports = 0;
  friend bool operator==(const Bits&, const Bits&) = default;
};

inline Index length_of(Index sequence) { return sequence % 5 == 3 ? 0 : sequence % 7 == 2 ? 1 : length - sequence % 3; }

//! Tokens of sequence `sequence` in step `step`: position, position + 1 are input and target.
inline std::vector<std::int32_t> tokens_of(Index step, Index sequence, bool one_token) {
  static constexpr mp::RandomKey key = mp::random_key(3, "law/tokens");
  std::vector<std::int32_t> tokens;
  for (Index position = 0; position <= length_of(sequence); ++position)
    tokens.push_back(one_token ? 5
                               : static_cast<std::int32_t>(
                                     mp::random_word(key, step, sequence * (length + 1) + position) % vocabulary));
  return tokens;
}

//! Every third target is not asked for.
struct Batch {
  std::vector<std::vector<std::int32_t>> tokens, targets;

  Batch(Index step, Index sequences, bool one_token) {
    for (Index g = 0; g < sequences; ++g) {
      tokens.push_back(tokens_of(step, g, one_token));
      targets.emplace_back(tokens.back().begin() + 1, tokens.back().end());
      for (std::size_t i = 0; i < targets.back().size(); i += 3)
        if (g % 4 == 1) targets.back()[i] = -1;
    }
  }
  mp::Sequence operator()(Index sequence) const {
    const auto& all = tokens[static_cast<std::size_t>(sequence)];
    return {std::span{all}.first(all.size() - 1), targets[static_cast<std::size_t>(sequence)]};
  }
};

inline mp::TrainerOptions options_of(const Setting& setting) {
  return {.shape = {.sequences = batch / setting.layout.world / setting.micro_steps,
                    .length = length,
                    .micro_steps = setting.micro_steps,
                    .receive_rows = setting.receive_rows},
          .seed = 1234,
          .initial_deviation = setting.initial,
          .clip = 0.5,
          .numerics = {.auxiliary_loss_coefficient = 0.05, .z_loss_coefficient = 0.01}};
}

//! Fills what no step has written yet with NaN.
template <class Rank> void poison(Rank& rank) {
  for (mp::Arena* arena : {&rank.arena(), &rank.parameters(), &rank.routes()}) {
    const auto all = arena->template take<std::byte>(1, arena->capacity() - arena->mark());
    std::memset(all.data, 0xff, static_cast<std::size_t>(all.size()));
    arena->release(0);
  }
}

//! Trains on one rank of a world and returns its bits, which are those of all ranks.
template <class ModelType, class Connection> Bits train_rank(Connection& connection, const Setting& setting) {
  mp::JobRank<ModelType, Connection> rank{connection, setting.layout, setting.workers};
  mp::Trainer trainer{rank, mp::AdamW{.weight_decay = 0.1}, options_of(setting)};
  if (setting.poison) poison(trainer.rank());
  std::uint64_t reports = 0;
  const auto report = [&](double value) { reports = mp::mix(reports) + mp::hashed_bits(value); };
  for (Index step = 0; step < steps; ++step) {
    const mp::StepOutcome outcome = trainer.step(Batch{step, batch, setting.one_token}, 1e-2);
    for (const double value :
         {outcome.loss, outcome.auxiliary_loss, outcome.z_loss, outcome.gradient_norm, outcome.sinkhorn_error})
      report(value);
    for (const std::int64_t count : trainer.router_counts()) report(static_cast<double>(count));
  }
  report(trainer.evaluate(Batch{steps, 10, false}, 10));
  for (const float logit : trainer.next_token_logits(std::array<std::int32_t, 3>{1, 2, 3}))
    report(static_cast<double>(logit));
  return {trainer.hash(), reports};
}

//! The same on a whole world; throws unless all ranks say the same.
template <class ModelType, class World> Bits train(World& world, const Setting& setting) {
  std::vector<Bits> bits(static_cast<std::size_t>(world.size()));
  world.run([&](auto& connection) {
    bits[static_cast<std::size_t>(connection.rank())] = train_rank<ModelType>(connection, setting);
  });
  for (const Bits& other : bits)
    if (other != bits[0]) throw mp::Error{"the ranks of one world report different bits"};
  return bits[0];
}
template <class ModelType> Bits train(const Setting& setting) {
  mp::ThreadWorld world{setting.layout.world};
  return train<ModelType>(world, setting);
}

//! Every legal layout of `world` ranks, dense and experts sharded alike; and the whole world, where experts have fewer
//! ranks. axis: of the experts.
inline std::vector<mp::Layout> layouts_of(Index world, mp::ExpertAxis axis = mp::ExpertAxis::innermost) {
  std::vector<mp::Layout> layouts;
  for (Index expert = 1; expert <= world; ++expert)
    for (Index shard = 0; shard <= world; ++shard) {
      if (world % expert != 0 || experts % expert != 0 || (shard == 0 && expert == 1)) continue;
      const mp::Layout layout = mp::layout_of({.expert = expert, .shard = shard}, world, axis);
      if (layout.legal()) layouts.push_back(layout);
    }
  return layouts;
}

inline std::string text_of(const Setting& setting) {
  const auto& layout = setting.layout;
  return "W " + std::to_string(layout.world) + ", E " + std::to_string(layout.expert) + ", S " +
         std::to_string(layout.dense_shard) + "/" + std::to_string(layout.expert_shard) + ", M " +
         std::to_string(setting.micro_steps) + ", workers " + std::to_string(setting.workers) + ", receive_rows " +
         std::to_string(setting.receive_rows);
}

}  // namespace law
