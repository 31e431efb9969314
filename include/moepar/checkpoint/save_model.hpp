// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <filesystem>
#include <moepar/checkpoint/disk_file.hpp>
#include <moepar/checkpoint/run_long_together.hpp>
#include <moepar/checkpoint/run_together.hpp>
#include <moepar/checkpoint/shared_tensor_file.hpp>
#include <moepar/checkpoint/tensor_index.hpp>
#include <moepar/checkpoint/tensor_layout.hpp>
#include <moepar/checkpoint/tensor_type.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/optim/parameter_list.hpp>
#include <set>
#include <string>
#include <system_error>
#include <vector>

namespace moepar {

//! How weights are written.
struct SaveOptions {
  TensorType type = TensorType::F32;
  Index file_bytes = 5'000'000'000;  //!< most of one file; more make several with an index, as transformers does
  std::string config{};              //!< text of config.json; empty: none is written
};

//! Writes the parameters of a model into a folder as Hugging Face has them: model.safetensors, or several files and
//! their index, and config.json last. Each rank writes the slices that it keeps. Called by all ranks. Throws Error on
//! all ranks; each file is whole or as it was. Of several files some may be new and some old after a crash: a
//! checkpoint (checkpoint_writer.hpp) is what survives one.
template <class Rank, class Model>
void save_model(Rank& rank, const Model& model, const std::vector<ListedParameter>& parameters,
                const std::string& folder, const SaveOptions& options = {}) {
  auto& world = rank.axes().world;
  run_together(world, [&] {
    if (rank.rank() != 0) return;
    std::error_code error;
    std::filesystem::create_directories(folder, error);
    if (error)
      throw Error{"moepar: the folder '" + folder + "' could not be made (" + error.message() +
                  "). Fix: save where you may write."};
  });
  const std::vector<TensorShard> shards = shard_tensors(tensor_entries(model, options.type), options.file_bytes);
  for (const TensorShard& shard : shards) {
    SharedTensorFile file{world, folder + "/" + shard.file, shard.entries, {{"format", "pt"}}};
    std::set<std::string> inside;
    for (const TensorEntry& entry : shard.entries) inside.insert(entry.name);
    run_long_together(world, [&] {
      for_each_run_once(
          rank, parameters, [&](const ListedParameter& listed, Index copy, Index first, Index count, Index at) {
            const std::string& name = listed.names[static_cast<std::size_t>(copy)];
            if (!inside.contains(name)) return;
            file.write(
                name, first,
                rank.kept(listed.parameter).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count)));
          });
    });
    file.finish();
  }
  run_together(world, [&] {
    if (rank.rank() != 0) return;
    const std::string index = folder + "/model.safetensors.index.json";
    std::error_code ignored;  // what is removed are weights that were here before
    if (shards.size() > 1) {
      write_whole_file(index, tensor_index_json(shards));
      std::filesystem::remove(folder + "/model.safetensors", ignored);
    } else {
      std::filesystem::remove(index, ignored);
    }
    if (!options.config.empty()) write_whole_file(folder + "/config.json", options.config);
    sync_folder(folder);
  });
}

}  // namespace moepar
