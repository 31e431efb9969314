// SPDX-License-Identifier: Apache-2.0
// A training is saved on one layout and loaded on any other; while it is saved it goes on.
#include <doctest/doctest.h>

#include <moepar/checkpoint/run_long_together.hpp>
#include <moepar/checkpoint/tensor_file.hpp>
#include <moepar/parallel/single_rank.hpp>

#include "training_case.hpp"

namespace {

using namespace training_case;

struct Large {
  mp::Parameter weight{1500, 1500};
  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("large.weight", self.weight);
  }
};

}  // namespace

TEST_CASE("what is saved on one layout loads on any other, element by element") {
  Index pairs = 0;
  for (const Index saved : {1, 2, 4, 8}) {
    const auto from = layouts_of(saved);
    for (std::size_t i = 0; i < from.size(); i += saved < 8 ? 2 : 7) {
      const Folder run;
      save(from[i], run.path, 7);
      for (const Index loaded : {1, 2, 4, 8}) {
        const auto to = layouts_of(loaded);
        const std::size_t stride = loaded < 8 ? 7 : 29;
        for (std::size_t j = (i + static_cast<std::size_t>(saved)) % std::min(stride, to.size()); j < to.size();
             j += stride) {
          std::atomic<Index> wrong{0}, largest{0};
          on_ranks(to[j], [&](auto& training) {
            training.clear();
            const auto found = mp::load_checkpoint(training.state(), run.path);
            wrong += training.wrong(7) + (found.step != 7) + (found.layout != from[i]) +
                     static_cast<Index>(found.skipped.size());
            largest = std::max<Index>(largest, found.largest_buffer);
          });
          CHECK(wrong == 0);
          CHECK(largest <= Index{1} << 20);
          ++pairs;
        }
      }
    }
  }
  CHECK(pairs > 100);
}

TEST_CASE("tensors are read and hashed in bounded pieces") {
  const Folder run;
  on_ranks<Large>({}, [&](auto& training) {
    training.set(1);
    mp::CheckpointWriter writer{training.state(), run.path};
    writer.save();
    writer.finish();
    training.clear();
    CHECK(mp::load_checkpoint(training.state(), run.path).largest_buffer == Index{1} << 20);
    CHECK(training.wrong(1) == 0);
  });
}

TEST_CASE("one rank that meets nobody saves and loads too") {
  const Folder run;
  Model model;
  mp::SingleRank<float> rank{model, {.sequences = 1, .length = 1}, {}};
  const auto parameters = mp::list_parameters(model, {}, 0);
  mp::AdamWState optimizer{rank};
  const mp::TrainingState state{rank, model, parameters, optimizer};
  for (std::size_t i = 0; i < parameters.size(); ++i)
    for (float& value : rank.kept(parameters[i].parameter)) value = static_cast<float>(i + 1);
  {
    mp::CheckpointWriter writer{state, run.path};
    writer.save();
    writer.finish();
  }
  for (const auto& listed : parameters)
    for (float& value : rank.kept(listed.parameter)) value = -1;
  CHECK(mp::load_checkpoint(state, run.path).step == 0);
  for (std::size_t i = 0; i < parameters.size(); ++i)
    for (const float value : rank.kept(parameters[i].parameter)) CHECK(value == static_cast<float>(i + 1));
  CHECK(has(error_of([&] { mp::load_checkpoint(state, run.path, {.step = 4}); }), "step-00000004/manifest.json"));
}

TEST_CASE("saved in the background or at once, the files are the same, byte by byte") {
  const mp::Layout layout{.world = 4, .expert = 2, .dense_shard = 4, .expert_shard = 2};
  const Folder background, at_once;
  const mp::Facts facts{{"seed", "1234"}, {"data", "a \"quoted\" \\ path\n\x01\x7f and \u00fc"}, {"", ""}};
  save(layout, background.path, 3, {}, facts);
  save(layout, at_once.path, 3, {.asynchronous = false}, facts);
  const std::string first = mp::step_path(background.path, 3), second = mp::step_path(at_once.path, 3);
  const auto names = names_in(first);
  CHECK(names == std::vector<std::string>{"manifest.json", "rank-00000.safetensors", "rank-00001.safetensors",
                                          "rank-00002.safetensors", "rank-00003.safetensors"});
  CHECK(names_in(second) == names);
  for (const auto& name : names) CHECK(read_file(first + '/' + name) == read_file(second + '/' + name));
  CHECK(names_in(background.path) == std::vector<std::string>{"lock", "step-00000003"});
  const mp::Manifest manifest = mp::read_manifest(first);
  CHECK(manifest.facts == facts);
  CHECK(static_cast<Index>(manifest.tensors.size()) == tensors);
}

TEST_CASE("a part file is a safetensors file") {
  const Folder run;
  save({.world = 2, .dense_shard = 2, .expert_shard = 2}, run.path, 3);
  const auto file = mp::TensorFileReader{mp::step_path(run.path, 3) + "/rank-00001.safetensors"};
  const mp::TensorInfo* part = file.find("embed.weight/second_moment@2048");
  REQUIRE(part != nullptr);
  std::vector<float> values(static_cast<std::size_t>(part->elements()));
  REQUIRE(values.size() == 61 * 40 - 2048);
  file.read(*part, 0, values);
  for (std::size_t i = 0; i < values.size(); ++i)
    CHECK(values[i] == Training<>::value("embed.weightsecond_moment", 2048 + static_cast<Index>(i), 3));
}

TEST_CASE("the newest stay, at one checkpoint a time; the rest of dead runs goes") {
  const mp::Layout layout{.world = 2, .dense_shard = 2};
  const Folder run;
  on_ranks(layout, [&](auto& training) {
    mp::CheckpointWriter writer{training.state(), run.path, {.keep = 3}};
    for (Index step = 1; step <= 6; ++step) {
      training.set(step);
      writer.save();
      writer.finish();
    }
  });
  CHECK(names_in(run.path) == std::vector<std::string>{"lock", "step-00000004", "step-00000005", "step-00000006"});

  std::filesystem::create_directory(run.path + "/step-00000009.partial");
  write_file(run.path + "/step-00000009.partial/rank-00000.safetensors", "half");
  std::filesystem::create_directory(run.path + "/step-00000002.removed");
  std::filesystem::create_directory(run.path + "/step-2.partial");  // not a name of ours
  save(layout, run.path, 7, {.keep = 1});
  CHECK(names_in(run.path) == std::vector<std::string>{"lock", "step-00000007", "step-2.partial"});
}

TEST_CASE("a step that is saved again takes the place of the old one; later ones are set aside") {
  const Folder run;
  save({}, run.path, 5);
  save({}, run.path, 8);
  const mp::Layout layout{.world = 2, .expert = 2};
  save(layout, run.path, 5, {}, {{"again", "yes"}});
  CHECK(names_in(run.path) == std::vector<std::string>{"lock", "step-00000005", "step-00000008.later"});
  on_ranks(layout, [&](auto& training) {
    const auto found = mp::load_checkpoint(training.state(), run.path);
    CHECK(found.step == 5);
    CHECK(found.layout == layout);
    if (training.rank.rank() != 0) return;
    REQUIRE(found.skipped.size() == 1);
    CHECK(has(found.skipped[0], "step-00000008.later is passed over: it is of a step that the run went back behind"));
  });
}

TEST_CASE("while a save is pending the training goes on; the next save waits for it") {
  const Folder run;
  on_ranks({.world = 4, .expert = 2, .dense_shard = 2, .expert_shard = 2}, [&](auto& training) {
    mp::CheckpointWriter writer{training.state(), run.path, {.keep = 9}};
    for (Index step = 1; step <= 9; ++step) {
      training.set(step);
      if (step % 3 == 1) {
        writer.save();
        CHECK(writer.pending());
      } else if (step % 3 == 0) {
        writer.save();
        training.clear();
      }
      writer.poll();
    }
    while (writer.pending()) writer.poll();  // it ends without anybody waiting
    for (const Index step : {1, 3, 4, 6, 7, 9}) {
      CHECK(mp::load_checkpoint(training.state(), run.path, {.step = step}).step == step);
      CHECK(training.wrong(step) == 0);
    }
  });
}

TEST_CASE("facts: what a run was is compared with what it is") {
  const mp::Facts saved{{"seed", "1"}, {"batch", "8"}, {"position", "77"}};
  mp::require_same_facts(saved, {{"batch", "8"}, {"seed", "1"}});
  CHECK(*mp::find_fact(saved, "position") == "77");
  CHECK(mp::find_fact(saved, "other") == nullptr);
  const std::string error =
      error_of([&] { mp::require_same_facts(saved, {{"seed", "2"}, {"batch", "8"}, {"clip", "0.5"}}); });
  CHECK(has(error, "seed was 1 and is 2 now; clip was not there and is 0.5 now. Fix:"));
  const Folder run;
  CHECK(has(error_of([&] { save({}, run.path, 1, {}, {{"name", "\xff"}}); }), "the fact 'name'"));
  CHECK(names_in(run.path) == std::vector<std::string>{"lock"});
}

TEST_CASE("a folder has one run: another one is told which") {
  const Folder run;
  on_ranks({.world = 2}, [&](auto& training) {
    mp::CheckpointWriter writer{training.state(), run.path};
    const std::string error = error_of([&] { mp::CheckpointWriter{training.state(), run.path}; });
    CHECK(has(error, "rank 0: moepar: the folder '" + run.path + "' is in use by another run (process " +
                         std::to_string(::getpid()) + " on host "));
    CHECK(has(error, "Fix: "));
  });
  save({}, run.path, 1);  // free again
  CHECK(has(error_of([&] { mp::RunLock{run.path + "/none"}; }), "could not be opened (No such file"));
  CHECK(has(error_of([&] { save({}, run.path, 2, {.keep = 0}); }), "0 checkpoints cannot be kept"));
}

TEST_CASE("a folder that is gone is an error on all ranks; the training is as before, and a later save succeeds") {
  for (const bool asynchronous : {true, false}) {
    const Folder folder;
    const std::string run = folder.path + "/run", away = folder.path + "/away";
    on_ranks({.world = 4, .dense_shard = 4, .expert_shard = 4}, [&](auto& training) {
      const auto rename = [&](const std::string& from, const std::string& to) {
        auto& world = training.rank.axes().world;
        world.barrier();
        if (training.rank.rank() == 0) std::filesystem::rename(from, to);
        world.barrier();
      };
      mp::CheckpointWriter writer{training.state(), run, {.asynchronous = asynchronous}};
      training.set(3);
      rename(run, away);
      const std::string error = error_of([&] {
        writer.save();
        writer.finish();
      });
      CHECK(has(error, "rank 0: moepar: the folder '" + run + "' of a run could not be read (No such file"));
      CHECK(!writer.pending());
      CHECK(training.wrong(3) == 0);
      rename(away, run);
      writer.save();
      writer.finish();
      training.clear();
      CHECK(mp::load_checkpoint(training.state(), run).step == 3);
      CHECK(training.wrong(3) == 0);
    });
  }
}

TEST_CASE("what ranks fail at alone is thrown on all: the text of the lowest") {
  mp::ThreadWorld{5}.run([&](auto& connection) {
    auto world = connection.communicator();
    const auto fails = [&](Index first, Index second, const std::string& text) {
      return error_of([&] {
        mp::run_together(world, [&] {
          if (world.rank() == first || world.rank() == second) throw mp::Error{text + std::to_string(world.rank())};
        });
      });
    };
    CHECK(fails(-1, -1, "").empty());
    CHECK(fails(0, 4, "no ") == "rank 0: no 0");
    CHECK(fails(3, 2, "no ") == "rank 2: no 2");
    CHECK(fails(4, 4, std::string(2000, 'x')) == "rank 4: " + std::string(1024, 'x'));
    CHECK(error_of([&] {
            mp::run_long_together(world, [&] {
              if (world.rank() == 1) throw std::bad_alloc{};
            });
          }) == "rank 1: std::bad_alloc");
    CHECK(fails(-1, -1, "").empty());
  });
  mp::NoCommunicator alone;
  mp::run_long_together(alone, [] {});
  CHECK(error_of([&] { mp::run_together(alone, [] { throw mp::Error{"alone"}; }); }) == "alone");
  // Where ranks fail to meet, that is the error.
  CHECK_THROWS_AS(mp::ThreadWorld{2}.run([&](auto& connection) {
    auto world = connection.communicator();
    mp::run_together(world, [&] { throw mp::CollectiveError{mp::CollectiveError::Reason::deadline, "late", {}, {}}; });
  }),
                  mp::CollectiveError);
}
