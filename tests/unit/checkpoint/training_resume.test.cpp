// SPDX-License-Identifier: Apache-2.0
// A real training: saving changes no bit of it, and a run that is resumed, on whatever layout, has the bits of one that
// ran through.
#include <doctest/doctest.h>

#include <moepar/checkpoint/checkpoint_loader.hpp>
#include <moepar/checkpoint/checkpoint_writer.hpp>
#include <optional>
#include <utility>
#include <vector>

#include "../../laws/law_training.hpp"
#include "training_case.hpp"

namespace {

namespace mp = moepar;
using mp::Index;
using training_case::Folder;

constexpr Index last = 6;

//! What must not depend on saves, resumes and layouts: the hash of the state after the last step, and the loss and the
//! norm of each step.
struct Bits {
  std::uint64_t state = 0;
  std::vector<std::pair<double, double>> steps{};
  friend bool operator==(const Bits&, const Bits&) = default;
};

//! Trains up to step `last`. run: "" saves nothing, else every second step is saved; from: resumes after that step.
Bits train(const mp::Layout& layout, const std::string& run, std::optional<Index> from = {}) {
  Bits bits;
  bits.steps.resize(last);
  mp::ThreadWorld world{layout.world};
  world.run([&](auto& connection) {
    mp::JobRank<law::Tied, mp::ThreadWorld::Rank> job{connection, layout, 1};
    mp::Trainer trainer{job, mp::AdamW{.weight_decay = 0.1}, law::options_of({.layout = layout})};
    if (from) {
      const auto loaded = mp::load_checkpoint(trainer.training_state(), run, {.step = from});
      mp::require_same_facts(loaded.facts, {{"seed", "1234"}});
    }
    std::optional<mp::CheckpointWriter<std::remove_reference_t<decltype(trainer.rank())>, law::Tied>> writer;
    if (!run.empty() && !from) writer.emplace(trainer.training_state(), run, mp::CheckpointOptions{.keep = 9});
    for (Index step = trainer.steps(); step < last; ++step) {
      const mp::StepOutcome outcome = trainer.step(law::Batch{step, law::batch, false}, 1e-2);
      if (job.is_first()) bits.steps[static_cast<std::size_t>(step)] = {outcome.loss, outcome.gradient_norm};
      if (!writer) continue;
      writer->poll();
      if (step % 2 == 1) writer->save({{"seed", "1234"}});
    }
    if (writer) writer->finish();
    const std::uint64_t hash = trainer.hash();
    if (job.is_first()) bits.state = hash;
  });
  return bits;
}

}  // namespace

TEST_CASE("saved in between, resumed on other layouts: the bits of a training that ran through") {
  const mp::Layout layout{.world = 4, .expert = 2, .dense_shard = 2, .expert_shard = 2};
  const Bits through = train(layout, "");
  const Folder run;
  CHECK(train(layout, run.path) == through);
  for (const mp::Layout& other : {layout, mp::Layout{}, mp::Layout{.world = 2, .dense_shard = 2, .expert_shard = 2},
                                  mp::Layout{.world = 8, .expert = 4, .dense_shard = 8, .expert_shard = 2},
                                  mp::Layout{.world = 3, .expert = 3, .dense_shard = 3}})
    for (const Index from : {2, 4}) {
      CAPTURE(other.world);
      CAPTURE(from);
      const Bits resumed = train(other, run.path, from);
      CHECK(resumed.state == through.state);
      for (auto step = static_cast<std::size_t>(from); step < static_cast<std::size_t>(last); ++step)
        CHECK(resumed.steps[step] == through.steps[step]);
    }
  CHECK(mp::verify_checkpoint(mp::step_path(run.path, 6)).good());
}
