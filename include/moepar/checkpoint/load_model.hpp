// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <moepar/checkpoint/model_folder.hpp>
#include <moepar/checkpoint/run_long_together.hpp>
#include <moepar/checkpoint/tensor_source.hpp>
#include <moepar/core/index.hpp>
#include <moepar/nn/path.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/optim/parameter_list.hpp>
#include <moepar/optim/tied.hpp>
#include <moepar/tensor/parameter.hpp>
#include <string>
#include <unordered_map>
#include <vector>

namespace moepar {

//! Sets the parameters that this rank keeps from a folder of safetensors as Hugging Face writes it, classic or fused.
//! Only the byte ranges of this rank's slices are read, in bounded pieces. Called by all ranks. Throws Error, on all
//! ranks, that names the tensors when one is missing, has another shape, or has no place in the model.
template <class Rank, class Model>
void load_model(Rank& rank, const Model& model, const std::vector<ListedParameter>& parameters,
                const std::string& folder) {
  run_long_together(rank.axes().world, [&] {
    const ModelFolder files{folder};
    MixtralTensors tensors{files};
    std::unordered_map<Index, std::string> tied;  // by the number of the parameter: the name of its further use
    for_each_use(model, [&](const Site& site, const Parameter&) {
      if (site.tied != nullptr) tied[site.tied->number] = site.name();
    });
    std::unordered_map<std::string, TensorSlice> slices;
    for_each_parameter(model, [&](const Site& site, const Parameter& parameter) {
      for (Index copy = 0; copy < site.copies; ++copy) {
        const std::string name = site.name(copy);
        const auto use = tied.find(parameter.number);
        slices.emplace(name, use == tied.end()
                                 ? tensors.resolve(name, parameter.rows, parameter.columns, site.copies)
                                 : tensors.resolve_tied(name, use->second, parameter.rows, parameter.columns));
      }
    });
    tensors.require_all_used();
    for (const ListedParameter& listed : parameters) {
      const auto kept = rank.kept(listed.parameter);
      listed.for_each_run([&](Index copy, Index first, Index count, Index at) {
        tensors.read(slices.at(listed.names[static_cast<std::size_t>(copy)]), first,
                     kept.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count)));
      });
      copy_to_uses(rank, listed);
    }
  });
}

}  // namespace moepar
