// SPDX-License-Identifier: Apache-2.0
// Law 3: what the compiler plans is what the program does: bytes of every arena, every collective, byte for byte; and
// a rank keeps its share and nothing else.
#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <moepar/moe.hpp>
#include <utility>
#include <vector>

#include "law_training.hpp"

namespace mp = moepar;
using mp::Index;

namespace {

struct Case {
  mp::Layout layout{};
  Index micro_steps = 1;
  Index receive_rows = 0;

  [[nodiscard]] constexpr mp::StepShape shape() const {
    return {.sequences = law::batch / layout.world / micro_steps,
            .length = law::length,
            .micro_steps = micro_steps,
            .receive_rows = receive_rows};
  }
};

constexpr Case whole(Index world, Index expert, Index shard, Index micro_steps = 1, Index receive_rows = 0) {
  return {mp::layout_of({.expert = expert, .shard = shard}, world), micro_steps, receive_rows};
}

constexpr std::array cases{
    whole(1, 1, 1),    whole(1, 1, 1, 3), whole(1, 1, 1, 1, 50), whole(2, 1, 1),    whole(2, 1, 2),
    whole(2, 2, 1),    whole(2, 2, 1, 4), whole(3, 1, 3),        whole(3, 3, 1, 2), whole(4, 1, 1, 3),
    whole(4, 1, 2),    whole(4, 1, 4, 2), whole(4, 2, 1),        whole(4, 2, 2),    whole(4, 2, 2, 3),
    whole(4, 4, 1, 2), whole(4, 2, 0),    whole(4, 2, 2, 1, 30), whole(6, 1, 6),    whole(6, 2, 3, 2),
    whole(6, 3, 2),    whole(6, 6, 1, 4), whole(8, 1, 8),        whole(8, 2, 4),    whole(8, 2, 2, 3),
    whole(8, 4, 2),    whole(8, 8, 1),    whole(8, 4, 0, 3),
};

// Evaluated by the compiler.
template <class Model, std::size_t... I>
constexpr std::array<mp::StepCost, sizeof...(I)> planned(std::index_sequence<I...>) {
  return {mp::cost_of_step<Model>(cases[I].layout, 0, cases[I].shape())...};
}
using Plain = law::Model<mp::AuxiliaryLoss>;
using Gathering = law::Model<mp::AuxiliaryLoss, mp::AllGather>;
using OverBatch = law::Model<mp::RoundAuxiliaryLoss>;  // wants one micro-step
using Again = law::Recomputed<mp::Sinkhorn>;

template <std::size_t First, std::size_t... I> constexpr auto shifted(std::index_sequence<I...>) {
  return std::index_sequence<First + I...>{};
}
constexpr auto plain_plan = planned<Plain>(std::make_index_sequence<cases.size()>{});
constexpr auto gathering_plan = planned<Gathering>(shifted<10>(std::make_index_sequence<6>{}));
constexpr auto again_plan = planned<Again>(shifted<10>(std::make_index_sequence<6>{}));

constexpr auto over_batch_plan = planned<OverBatch>(shifted<22>(std::make_index_sequence<2>{}));

template <class Model> void check(const Case& at, const mp::StepCost& by_compiler) {
  const law::Setting setting{.layout = at.layout, .micro_steps = at.micro_steps, .receive_rows = at.receive_rows};
  CAPTURE(law::text_of(setting));
  std::vector<int> wrong(static_cast<std::size_t>(at.layout.world));
  mp::ThreadWorld world{at.layout.world};
  world.run([&](auto& connection) {
    using Connection = std::remove_reference_t<decltype(connection)>;
    mp::JobRank<Model, Connection> rank{connection, at.layout, 1};
    mp::Trainer trainer{rank, mp::AdamW{}, law::options_of(setting)};
    int& fault = wrong[static_cast<std::size_t>(connection.rank())];
    const mp::StepCost plan = mp::cost_of_step<Model>(at.layout, connection.rank(), at.shape());
    for (Index step = 0; step < 2; ++step) {
      trainer.rank().ledger() = {};
      trainer.step(law::Batch{step, law::batch, false}, 1e-2);
      const mp::ArenaBytes used = mp::high_water(trainer.rank());
      if (at.receive_rows == 0 && used != plan.arenas) fault |= 1;
      // Several passes give back between them; they never need more.
      if (used.activations > plan.arenas.activations || used.parameters > plan.arenas.parameters ||
          used.routes != plan.arenas.routes || used.constants != plan.arenas.constants)
        fault |= 64;
      if (at.receive_rows == 0 && trainer.rank().ledger() != plan.ledger) fault |= 2;
    }
    if (trainer.cost() != plan) fault |= 4;
    Index kept = 0;
    for (const auto& listed : trainer.parameters())
      kept += static_cast<Index>(trainer.rank().kept(listed.parameter).size());
    if (kept != plan.held) fault |= 8;
    if (kept != mp::parameters_of_rank(mp::census_of<Model>(), at.layout, connection.rank()).total()) fault |= 16;
    if (connection.rank() == 0 && by_compiler != plan) fault |= 32;
  });
  for (const int fault : wrong) CHECK(fault == 0);
}

}  // namespace

TEST_CASE("the compiler's plan is the program: arenas and collectives of 28 layouts") {
  static_assert(cases.size() >= 20);
  for (std::size_t i = 0; i < cases.size(); ++i) check<Plain>(cases[i], plain_plan[i]);
  for (std::size_t i = 0; i < 6; ++i) check<Gathering>(cases[10 + i], gathering_plan[i]);
  for (std::size_t i = 0; i < 6; ++i) check<Again>(cases[10 + i], again_plan[i]);
  for (std::size_t i = 0; i < 2; ++i) check<OverBatch>(cases[22 + i], over_batch_plan[i]);
}

TEST_CASE("more ranks, less memory: shards and experts of a rank, by bytes") {
  const auto at = [](const Case& one) { return mp::cost_of_step<Plain>(one.layout, 0, one.shape()); };
  const Index all = at(whole(1, 1, 1)).held;
  CHECK(at(whole(8, 1, 1)).held == all);
  CHECK(at(whole(8, 8, 1)).held < all / 3);
  CHECK(at(whole(8, 1, 8)).held < all / 5);
  // A whole parameter is there only while it is gathered: the arena holds one layer, with its gradient.
  CHECK(at(whole(8, 1, 8)).arenas.parameters < 2 * all * 4);
  CHECK(at(whole(8, 1, 1)).arenas.parameters == 0);
}
