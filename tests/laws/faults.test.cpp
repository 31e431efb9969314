// SPDX-License-Identifier: Apache-2.0
// Law 4: no step hangs. A rank that ends, stalls or is cut off at any collective of a training makes every other rank
// throw and name it; and a loss that is not finite stops all of them before the update.
#include <doctest/doctest.h>

#include <atomic>
#include <chrono>
#include <limits>
#include <moepar/comm/simulated/simulated_world.hpp>
#include <moepar/moe.hpp>
#include <string>
#include <vector>

#include "law_training.hpp"

namespace mp = moepar;
using mp::Index;
using Model = law::Model<mp::AuxiliaryLoss>;
using Fault = mp::SimulatedFault;

namespace {

const std::vector<law::Setting>& settings() {
  static const std::vector<law::Setting> all = [] {
    std::vector<law::Setting> list;
    for (const Index world : {2, 3, 4, 6, 8})
      for (const mp::Layout& layout : law::layouts_of(world)) list.push_back({.layout = layout});
    return list;
  }();
  return all;
}

//! Calls of the communicators that a step makes, on every rank.
Index calls_of_step(const law::Setting& setting) {
  return mp::cost_of_step<Model>(setting.layout, 0, law::options_of(setting).shape).ledger.calls();
}

}  // namespace

TEST_CASE("kill, stall or cut off a random rank at a random collective of a step: 200 seeds") {
  Index named = 0;
  for (std::uint64_t seed = 1; seed <= 200; ++seed) {
    const law::Setting& setting = settings()[seed % settings().size()];
    const Index world_size = setting.layout.world;
    const Fault fault = mp::random_fault(seed, world_size, calls_of_step(setting));
    CAPTURE(seed);
    CAPTURE(law::text_of(setting));
    CAPTURE(static_cast<int>(fault.kind));
    CAPTURE(fault.rank);
    CAPTURE(fault.call);
    std::vector<int> told(static_cast<std::size_t>(world_size));
    mp::SimulatedWorld world{world_size, seed, {.faults = {fault}, .stack_bytes = std::size_t{1} << 20}};
    CHECK_THROWS(world.run([&](auto& connection) {
      try {
        (void)law::train_rank<Model>(connection, setting);
      } catch (const mp::CollectiveError& error) {
        const auto& suspects = error.suspects();
        const bool it = std::find(suspects.begin(), suspects.end(), fault.rank) != suspects.end();
        told[static_cast<std::size_t>(connection.rank())] = it ? 2 : 1;
        throw;
      }
    }));
    for (Index rank = 0; rank < world_size; ++rank)
      if (rank != fault.rank) {
        CAPTURE(rank);
        CHECK(told[static_cast<std::size_t>(rank)] == 2);
        ++named;
      }
  }
  CHECK(named > 400);
}

TEST_CASE("threads: a rank that throws or stalls in the middle of a training") {
  for (const bool stalls : {false, true}) {
    const law::Setting setting{.layout = {.world = 4, .expert = 2, .dense_shard = 2, .expert_shard = 2}};
    std::atomic<int> told{0};
    std::atomic<bool> over{false};
    mp::ThreadWorld world{4, std::chrono::milliseconds{2000}};
    CHECK_THROWS(world.run([&](auto& connection) {
      mp::JobRank<Model, mp::ThreadWorld::Rank> rank{connection, setting.layout, 1};
      mp::Trainer trainer{rank, mp::AdamW{}, law::options_of(setting)};
      trainer.step(law::Batch{0, law::batch, false}, 1e-2);
      if (connection.rank() == 2) {
        if (!stalls) throw mp::Error{"out of luck"};
        while (!over) std::this_thread::yield();
        return;
      }
      try {
        trainer.step(law::Batch{1, law::batch, false}, 1e-2);
      } catch (const mp::CollectiveError& error) {
        if (error.suspects() == std::vector<Index>{2}) ++told;
        if (told == 3) over = true;
        throw;
      }
    }));
    CHECK(told == 3);
  }
}

TEST_CASE("ranks, experts and steps without tokens") {
  for (const Index world_size : {1, 2, 4, 6})
    for (const mp::Layout& layout : law::layouts_of(world_size)) {
      const law::Setting setting{.layout = layout};
      CAPTURE(law::text_of(setting));
      std::vector<std::uint64_t> hashes(static_cast<std::size_t>(world_size));
      mp::ThreadWorld world{world_size};
      world.run([&](auto& connection) {
        mp::JobRank<Model, mp::ThreadWorld::Rank> rank{connection, layout, 1};
        mp::Trainer trainer{rank, mp::AdamW{}, law::options_of(setting)};
        // One sequence of one token in the whole batch, on whichever rank holds it.
        const std::vector<std::int32_t> token{7};
        for (Index step = 0; step < 3; ++step) {
          const auto outcome = trainer.step(
              [&](Index sequence) { return sequence == 11 + step ? mp::Sequence{token, token} : mp::Sequence{}; },
              1e-2);
          if (!(outcome.loss > 0)) throw mp::Error{"no loss"};
        }
        hashes[static_cast<std::size_t>(connection.rank())] = trainer.hash();
      });
      static std::uint64_t expected = hashes[0];
      for (const std::uint64_t hash : hashes) CHECK(hash == expected);
    }
}

TEST_CASE("a step without any target is refused on all ranks, and nothing is updated") {
  mp::ThreadWorld world{2};
  std::atomic<int> refused{0};
  world.run([&](auto& connection) {
    const law::Setting setting{.layout = {.world = 2, .expert = 2}};
    mp::JobRank<Model, mp::ThreadWorld::Rank> rank{connection, setting.layout, 1};
    mp::Trainer trainer{rank, mp::AdamW{}, law::options_of(setting)};
    const auto before = trainer.hash();
    try {
      trainer.step([](Index) { return mp::Sequence{}; }, 1e-2);
    } catch (const mp::Error&) {
      ++refused;
    }
    if (trainer.hash() != before) throw mp::Error{"updated"};
  });
  CHECK(refused == 2);
}

TEST_CASE("a value that is not finite stops all ranks before the update, and says where") {
  const law::Setting setting{.layout = {.world = 4, .expert = 2, .dense_shard = 2, .expert_shard = 2}};
  for (const float poison : {std::numeric_limits<float>::quiet_NaN(), std::numeric_limits<float>::infinity()})
    for (const bool in_layer : {false, true}) {
      std::vector<std::string> said(4);
      std::atomic<int> unchanged{0};
      mp::ThreadWorld world{4};
      world.run([&](auto& connection) {
        mp::JobRank<Model, mp::ThreadWorld::Rank> rank{connection, setting.layout, 1};
        mp::Trainer trainer{rank, mp::AdamW{}, law::options_of(setting)};
        trainer.step(law::Batch{0, law::batch, false}, 1e-2);
        for (const auto& listed : trainer.parameters()) {
          const std::string& name = listed.names[0];
          if (name != (in_layer ? "model.layers.0.self_attn.o_proj.weight" : "lm_head.weight")) continue;
          for (float& value : trainer.rank().kept(listed.parameter)) value = poison;
        }
        const auto before = trainer.hash();
        try {
          trainer.step(law::Batch{1, law::batch, false}, 1e-2);
        } catch (const mp::Error& error) {
          said[static_cast<std::size_t>(connection.rank())] = error.what();
        }
        if (trainer.hash() == before) ++unchanged;
      });
      CHECK(unchanged == 4);
      for (const std::string& text : said) {
        CAPTURE(text);
        CHECK(text == said[0]);
        CHECK(text.find("step 2 has the loss") != std::string::npos);
        CHECK(text.find(
                  in_layer
                      ? "forward met it first at the input of model.layers.0.post_attention_layernorm.weight on rank 0"
                      : "met it first at the output of model.norm.weight on rank 0") != std::string::npos);
      }
    }
}
