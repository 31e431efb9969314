// SPDX-License-Identifier: Apache-2.0
// Law 3: steps after the first allocate nothing, on any rank.
#include <doctest/doctest.h>

#include <algorithm>
#include <atomic>
#include <filesystem>
#include <moepar/moe.hpp>
#include <string>
#include <vector>

#include "../unit/counting_new.hpp"
#include "law_training.hpp"

namespace mp = moepar;
using mp::Index;

namespace {

template <class Model> long allocations_after_first_step(const law::Setting& setting) {
  std::vector<law::Batch> batches;
  for (Index step = 0; step < law::steps; ++step) batches.emplace_back(step, law::batch, false);
  std::atomic<long> counted{0};
  mp::ThreadWorld world{setting.layout.world};
  world.run([&](auto& connection) {
    mp::JobRank<Model, mp::ThreadWorld::Rank> rank{connection, setting.layout, setting.workers};
    mp::Trainer trainer{rank, mp::AdamW{}, law::options_of(setting)};
    auto everybody = connection.communicator();
    trainer.step(batches[0], 1e-2);
    everybody.barrier();
    everybody.barrier();  // the second: both halves of a call have been used
    if (connection.rank() == 0) allocations = 0;
    everybody.barrier();
    for (std::size_t step = 1; step < batches.size(); ++step) trainer.step(batches[step], 1e-2);
    everybody.barrier();
    if (connection.rank() == 0) counted = allocations.load();
    everybody.barrier();
  });
  return counted;
}

}  // namespace

TEST_CASE("steps after the first allocate nothing") {
  for (const Index world : {1, 2, 4, 6})
    for (const mp::Layout& layout : law::layouts_of(world))
      for (const Index rows : {0, 20}) {
        const law::Setting setting{.layout = layout, .micro_steps = 2, .receive_rows = rows, .workers = 2};
        CAPTURE(law::text_of(setting));
        CHECK(allocations_after_first_step<law::Model<mp::AuxiliaryLoss>>(setting) == 0);
        CHECK(allocations_after_first_step<law::Model<mp::AuxiliaryLoss, mp::AllGather>>(setting) == 0);
      }
}

namespace {

//! An embedding table of 2 MiB; everything else is small.
struct Large : mp::HybridShard<mp::CausalLm<13000, mp::Repeat<law::Block<mp::TopKSoftmax>, 1>>, 1> {};

//! The largest allocation of any rank while each runs use(trainer), the trainer being made before.
template <class Use> std::size_t largest_of(const mp::Layout& layout, mp::Start start, Use use) {
  std::atomic<std::size_t> largest{0};
  mp::ThreadWorld world{layout.world};
  world.run([&](auto& connection) {
    mp::JobRank<Large, mp::ThreadWorld::Rank> rank{connection, layout, 1};
    mp::Trainer trainer{rank, mp::AdamW{}, {.shape = {.length = law::length}, .start = start}};
    auto everybody = connection.communicator();
    everybody.barrier();
    if (connection.rank() == 0) largest_allocation = 0;
    everybody.barrier();
    use(trainer);
    everybody.barrier();
    if (connection.rank() == 0) largest = largest_allocation.load();
    everybody.barrier();
  });
  return largest;
}

}  // namespace

TEST_CASE("no rank holds a whole tensor: at start, load and save") {
  const auto folder = (std::filesystem::temp_directory_path() / "moepar_whole_tensor").string();
  std::filesystem::remove_all(folder);
  constexpr std::size_t whole = 13000 * law::hidden * sizeof(float), piece = (1 << 20) + 4096;
  const mp::Layout alone{}, spread = mp::layout_of({.expert = 2, .shard = 4}, 8);
  const auto save = [&](auto& trainer) { trainer.save(folder); };
  const auto load = [&](auto& trainer) { trainer.load(folder); };
  const auto start = [](auto& trainer) { initialize(trainer.rank(), trainer.parameters(), 7, 0.02); };
  CHECK(largest_of(alone, mp::Start::random, [&](auto& trainer) { (void)trainer.gradients(law::Batch{0, 1, false}); }) <
        whole);  // a step's memory was there before
  CHECK(largest_of(spread, mp::Start::random, save) <= piece);
  CHECK(largest_of(spread, mp::Start::loaded, load) <= piece);
  CHECK(largest_of(spread, mp::Start::random, start) <= piece);
  // What a rank keeps is a slice, too: two gathers of it would not be there otherwise.
  mp::ThreadWorld world{8};
  world.run([&](auto& connection) {
    mp::JobRank<Large, mp::ThreadWorld::Rank> rank{connection, spread, 1};
    mp::Trainer trainer{rank, mp::AdamW{}, {.shape = {.length = law::length}, .start = mp::Start::loaded}};
    for (const mp::ListedParameter& listed : trainer.parameters())
      if (trainer.rank().kept(listed.parameter).size_bytes() >= whole) throw mp::Error{"a rank keeps a whole tensor"};
    trainer.load(folder);
    (void)trainer.gradients(law::Batch{0, 8, false});
  });
  std::filesystem::remove_all(folder);
}

TEST_CASE("a value that was never set is refused by name") {
  mp::ThreadWorld world{2};
  std::string said = "nothing";
  try {
    world.run([&](auto& connection) {
      mp::JobRank<Large, mp::ThreadWorld::Rank> rank{connection, mp::layout_of({.expert = 2, .shard = 1}, 2), 1};
      mp::Trainer trainer{rank, mp::AdamW{}, {.shape = {.length = law::length}, .start = mp::Start::loaded}};
      for (const mp::ListedParameter& listed : trainer.parameters()) {
        const auto kept = trainer.rank().kept(listed.parameter);
        std::fill(kept.begin(), kept.end(), 0.1f);
      }
      mp::mark_unset(trainer.rank(), {trainer.parameters()[8]});
      (void)trainer.gradients(law::Batch{0, 2, false});
    });
  } catch (const mp::Error& error) {
    said = error.what();
  }
  CAPTURE(said);
  CHECK(said.find("has no value for element 0 of model.layers.0.block_sparse_moe.experts.") != std::string::npos);
}

TEST_CASE("the counter counts") {
  const long before = allocations;
  const std::vector<int> some(3);
  CHECK(allocations == before + 1);
}
