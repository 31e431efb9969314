// SPDX-License-Identifier: Apache-2.0
// Law 3: steps after the first allocate nothing, on any rank.
#include <doctest/doctest.h>

#include <atomic>
#include <moepar/moe.hpp>
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

TEST_CASE("the counter counts") {
  const long before = allocations;
  const std::vector<int> some(3);
  CHECK(allocations == before + 1);
}
