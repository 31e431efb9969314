// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdio>
#include <filesystem>
#include <moepar/checkpoint/checkpoint_loader.hpp>
#include <moepar/checkpoint/run_folder.hpp>
#include <moepar/checkpoint/run_together.hpp>
#include <moepar/core/error.hpp>
#include <moepar/models/mixtral_config.hpp>
#include <moepar/models/mixtral_config_json.hpp>
#include <moepar/program/facts.hpp>
#include <string>
#include <system_error>
#include <vector>

namespace moepar::program {

//! Whether a folder holds weights as Hugging Face has them; or is such a file.
inline bool holds_weights(const std::string& path) {
  std::error_code ignored;
  const std::filesystem::path folder{path};
  return std::filesystem::is_regular_file(folder, ignored) ||
         std::filesystem::exists(folder / "model.safetensors", ignored) ||
         std::filesystem::exists(folder / "model.safetensors.index.json", ignored);
}

//! Whether a folder is a checkpoint of a training itself.
inline bool is_checkpoint(const std::string& path) {
  std::error_code ignored;
  return std::filesystem::exists(std::filesystem::path{path} / "manifest.json", ignored);
}

//! The checkpoints that a path names: itself, or those in the folder of a run.
inline std::vector<std::string> checkpoints_of(const std::string& path) {
  if (is_checkpoint(path)) return {path};
  std::error_code ignored;
  std::vector<std::string> found;
  if (std::filesystem::is_directory(path, ignored))
    for (const StepFolder& folder : step_folders(path))
      if (folder.state == StepState::complete) found.push_back(step_path(path, folder.step));
  return found;
}

//! Throws Error when a folder of weights has a config.json of a model that computes something else with tensors of the
//! same shapes.
inline void require_config_of(const std::string& folder, const ProgramFacts& facts) {
  std::error_code ignored;
  const std::string file = folder + "/config.json";
  if (!std::filesystem::is_regular_file(file, ignored)) return;
  const MixtralConfig theirs = read_mixtral_config(file);
  std::string differences;
  const auto compare = [&](const char* name, auto ours, auto value) {
    if (ours != value)
      differences += std::string{differences.empty() ? "" : ", "} + name + " " + detail::number_text(double(value)) +
                     " (the program: " + detail::number_text(double(ours)) + ")";
  };
  compare("rms_norm_eps", facts.norm_epsilon, theirs.rms_norm_eps);
  compare("rope_theta", facts.rotary_theta, theirs.rope_theta);
  compare("pad_token_id", facts.padding_token, theirs.pad_token_id);
  if (facts.top_k > 0) compare("num_experts_per_tok", facts.top_k, theirs.sizes.num_experts_per_tok);
  if (facts.heads > 0) compare("num_attention_heads", facts.heads, theirs.sizes.num_attention_heads);
  if (!differences.empty())
    throw Error{"moepar: " + file + " is of another model: " + differences +
                ". Fix: make the program from this config.json (./dev model), or change the one that is wrong."};
}

//! Sets the values of a trainer from a checkpoint, the newest checkpoint of a run, or a folder of weights, in this
//! order: a run's weights are those of its last orderly end. Checkpoints that were passed over are named.
template <class Trainer> void load_values(Trainer& trainer, const std::string& folder, const ProgramFacts& facts) {
  const auto state = trainer.training_state();
  if (is_checkpoint(folder)) {
    load_checkpoint(state, folder, {.is_checkpoint = true});
  } else if (checkpoints_of(folder).empty()) {
    run_together(trainer.rank().axes().world, [&] { require_config_of(folder, facts); });
    trainer.load(folder);
  } else {
    const LoadedCheckpoint loaded = load_checkpoint(state, folder);
    if (trainer.rank().rank() == 0)
      for (const std::string& skipped : loaded.skipped) std::fprintf(stderr, "%s\n", skipped.c_str());
  }
}

}  // namespace moepar::program
