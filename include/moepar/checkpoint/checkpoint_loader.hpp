// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <moepar/checkpoint/checkpoint_check.hpp>
#include <moepar/checkpoint/checkpoint_facts.hpp>
#include <moepar/checkpoint/hash128.hpp>
#include <moepar/checkpoint/manifest.hpp>
#include <moepar/checkpoint/manifest_reader.hpp>
#include <moepar/checkpoint/read_training.hpp>
#include <moepar/checkpoint/run_folder.hpp>
#include <moepar/checkpoint/run_long_together.hpp>
#include <moepar/checkpoint/run_together.hpp>
#include <moepar/checkpoint/training_state.hpp>
#include <moepar/comm/collective_error.hpp>
#include <moepar/comm/communicator.hpp>
#include <moepar/core/bits_version.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/optim/initialized.hpp>
#include <moepar/optim/tied.hpp>
#include <moepar/topology/layout.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moepar {

struct LoadOptions {
  std::optional<Index> step{};  //!< this one or none; else the newest that is good
  bool is_checkpoint = false;   //!< what is named is the folder of one checkpoint, whatever it is called, not of a run
  bool other_bits = false;      //!< also one of a library with other bits: training goes on, but not with the same bits
};

//! What was loaded, and why newer ones were not.
struct LoadedCheckpoint {
  Index step = 0;
  Facts facts{};                       //!< as saved
  Layout layout{};                     //!< that wrote it
  std::vector<std::string> skipped{};  //!< a text each, for the program to print: corrupt or unfinished ones
  Index largest_buffer = 0;            //!< bytes of the largest piece of a tensor that was held beside the state
};

namespace detail {

//! The steps that rank 0 sees in the folder of a run, newest first; on rank 0 a text for each folder that is none.
template <class Communicator>
std::vector<std::int64_t> steps_together(Communicator& world, Index rank, const std::string& run,
                                         std::vector<std::string>& skipped) {
  std::vector<std::int64_t> steps;
  run_together(world, [&] {
    if (rank != 0) return;
    const auto folders = step_folders(run);
    for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder)
      if (folder->state == StepState::complete)
        steps.push_back(folder->step);
      else
        skipped.push_back(step_path(run, folder->step, folder->state) + " is passed over: it is " +
                          (folder->state == StepState::later ? "of a step that the run went back behind"
                                                             : "unfinished, or was left by a run that died"));
  });
  if constexpr (communicator<Communicator>) {
    auto count = static_cast<std::int64_t>(steps.size());
    world.broadcast(0, std::span{&count, 1});
    steps.resize(static_cast<std::size_t>(count));
    world.broadcast(0, std::span{steps});
  }
  return steps;
}

//! The manifest of the checkpoint of `step`. Throws Error on all ranks unless every byte of it is as its manifest says.
//! Each of `ranks` ranks reads an equal share. largest: raised to the largest piece that was held.
template <class Communicator>
Manifest checked_together(Communicator& world, Index rank, Index ranks, const std::string& folder,
                          const std::optional<Index>& step, Index& largest) {
  Manifest manifest;
  std::array<std::int64_t, 2> hash{};  // of the manifest, and its complement: the maximum of both tells differences
  run_long_together(world, [&] {
    manifest = read_manifest(folder);
    if (step && manifest.step != *step)
      throw Error{"moepar: " + folder + " holds a checkpoint of step " + std::to_string(manifest.step) +
                  ". Fix: give the folder its name again."};
    hash[0] = static_cast<std::int64_t>(hash128(manifest_text(manifest)).low);
    hash[1] = ~hash[0];
  });
  if constexpr (communicator<Communicator>) world.maximum(std::span<std::int64_t>{hash});
  if (hash[0] != ~hash[1])
    throw Error{"moepar: ranks find different manifests in " + folder +
                ". Fix: give all ranks one file system, or equal copies."};
  run_long_together(world, [&] {
    CheckpointCheck check{folder, manifest};
    const auto require = [](const std::optional<std::string>& fault) {
      if (fault) throw Error{*fault};
    };
    for (Index file = rank; file < static_cast<Index>(manifest.files.size()); file += ranks)
      require(check.fault_of_file(file));
    const std::vector<PlacedPart> parts = placed_parts(manifest);
    Index total = 0, at = 0;
    for (const PlacedPart& part : parts) total += part.bytes();
    for (const PlacedPart& part : parts) {
      if (at / ceil_div(total, ranks) == rank) require(check.fault_of_part(part));
      at += part.bytes();
    }
    largest = std::max(largest, check.largest_piece());
  });
  return manifest;
}

}  // namespace detail

//! Loads the newest good checkpoint of a run, or the one of options.step, into a training of any layout and world. All
//! ranks call it together. Every byte is compared with its hash before the first value is set; a checkpoint that is
//! corrupt or unfinished is passed over for the one before. Throws Error on all ranks when there is none, or when it is
//! of another model or of a library with other bits.
template <class Rank, class Model>
LoadedCheckpoint load_checkpoint(const TrainingState<Rank, Model>& state, const std::string& run,
                                 const LoadOptions& options = {}) {
  auto& world = state.rank.axes().world;
  const Index rank = state.rank.rank(), ranks = state.rank.layout().world;
  LoadedCheckpoint loaded;
  std::optional<Manifest> manifest;
  std::string folder = run;
  std::vector<std::optional<Index>> steps{{}};
  if (options.step) {
    steps = {options.step};
  } else if (!options.is_checkpoint) {
    const auto found = detail::steps_together(world, rank, run, loaded.skipped);
    steps.assign(found.begin(), found.end());
  }
  for (const std::optional<Index>& step : steps) {
    if (step) folder = step_path(run, *step);
    try {
      manifest = detail::checked_together(world, rank, ranks, folder, step, loaded.largest_buffer);
      break;
    } catch (const CollectiveError&) {
      throw;
    } catch (const Error& error) {
      if (options.step || options.is_checkpoint) throw;
      loaded.skipped.push_back(folder + " is passed over: " + error.what());
    }
  }
  if (!manifest) {
    std::string text = "moepar: the run '" + run + "' has no good checkpoint";
    for (const std::string& reason : loaded.skipped) text += "; " + reason;
    throw Error{text + ". Fix: start the training anew, or name another folder."};
  }

  run_long_together(world, [&] {
    if (manifest->bits != bits_version && !options.other_bits)
      throw Error{"moepar: the checkpoint " + folder + " has bits_version " + std::to_string(manifest->bits) +
                  ", this program " + std::to_string(bits_version) +
                  ", so training would not go on with the same bits. Fix: use the release that wrote it, or allow "
                  "other_bits."};
    const detail::TensorIndex index{*manifest};
    detail::require_tensors_of(state.model, *manifest, index, folder);
    try {
      detail::read_kept(state, *manifest, index, folder);
    } catch (...) {
      mark_unset(state.rank, state.parameters);  // nobody trains on half a checkpoint
      throw;
    }
  });
  for (const ListedParameter& listed : state.parameters) copy_to_uses(state.rank, listed);
  state.optimizer.restore(manifest->step, manifest->beta1_power, manifest->beta2_power);
  loaded.step = manifest->step;
  loaded.facts = std::move(manifest->facts);
  loaded.layout = manifest->layout;
  return loaded;
}

}  // namespace moepar
