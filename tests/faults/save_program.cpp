// SPDX-License-Identifier: Apache-2.0
// Saves and loads a training of two ranks, for tests/faults/checkpoint.py, which kills it and fills its disk.
//
//   save_program save RUN STEP...   saves the values of these steps, one after the other, each in the background while
//                                   the values change; prints "saved STEP", or "RANK: ERROR" for each rank and tries
//                                   that step again, up to four times; "left NAME" where that leaves something
//                                   half-written
//   save_program load RUN           prints "step STEP", or "error ERROR"
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "../unit/checkpoint/training_case.hpp"

namespace {

using namespace training_case;

//! A line that is out before anything else happens.
void say(const std::string& line) {
  std::fputs((line + '\n').c_str(), stdout);
  std::fflush(stdout);
}

//! One attempt on one rank; false when it failed, as on all other ranks.
template <class Attempt> bool succeeds(Index rank, Attempt attempt) {
  const std::string error = error_of(attempt);
  if (!error.empty()) say(std::to_string(rank) + ": " + error);
  return error.empty();
}

int save_steps(const std::string& run, const std::vector<Index>& steps) {
  bool all = true;
  on_ranks({.world = 2, .expert = 2}, [&](auto& training) {
    const Index rank = training.rank.rank();
    std::optional<mp::CheckpointWriter<typename Training<>::Rank, Model>> writer;
    for (const Index step : steps) {
      const auto attempt = [&] {
        if (!writer) writer.emplace(training.state(), run, mp::CheckpointOptions{.keep = 1});
        training.set(step);
        writer->save({{"step", std::to_string(step)}});
        training.set(step + 1000);
        while (writer->pending()) writer->poll();
      };
      bool good = false;
      for (int attempts = 0; attempts < 5 && !good; ++attempts) {
        good = succeeds(rank, attempt);
        if (rank != 0 || good) continue;
        for (const std::string& name : names_in(run))
          if (name.ends_with(".partial")) say("left " + name);
      }
      if (rank == 0 && good) say("saved " + std::to_string(step));
      if (rank == 0) all = all && good;
    }
  });
  return all ? 0 : 3;
}

int load(const std::string& run) {
  std::string error;
  Index step = -1, wrong = 0;
  std::mutex mutex;
  on_ranks({.world = 2, .dense_shard = 2, .expert_shard = 2}, [&](auto& training) {
    const std::string own = error_of([&] {
      const auto loaded = mp::load_checkpoint(training.state(), run);
      const std::lock_guard lock{mutex};
      step = loaded.step;
      wrong += training.wrong(step) + (loaded.facts != mp::Facts{{"step", std::to_string(step)}});
    });
    const std::lock_guard lock{mutex};
    if (!own.empty()) error = own;
  });
  if (error.empty() && wrong > 0) error = std::to_string(wrong) + " wrong values of step " + std::to_string(step);
  say(error.empty() ? "step " + std::to_string(step) : "error " + error);
  return error.empty() ? 0 : 3;
}

}  // namespace

int main(int count, char** arguments) {
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on the size of files is then an error, as it is for most programs
  const std::vector<std::string> words(arguments + 1, arguments + count);
  if (words.size() == 2 && words[0] == "load") return load(words[1]);
  if (words.size() < 3 || words[0] != "save") return 2;
  std::vector<Index> steps;
  for (std::size_t i = 2; i < words.size(); ++i) steps.push_back(std::atol(words[i].c_str()));
  return save_steps(words[1], steps);
}
