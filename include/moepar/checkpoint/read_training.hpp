// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <map>
#include <moepar/checkpoint/checkpoint_check.hpp>
#include <moepar/checkpoint/disk_file.hpp>
#include <moepar/checkpoint/manifest.hpp>
#include <moepar/checkpoint/training_state.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/nn/walk.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

namespace moepar {
namespace detail {

//! A manifest by name and kind of tensor.
class TensorIndex {
 public:
  explicit TensorIndex(const Manifest& manifest) {
    for (const ManifestTensor& tensor : manifest.tensors) tensors_[{tensor.name, tensor.kind}] = &tensor;
  }
  [[nodiscard]] const ManifestTensor* find(const std::string& name, TensorKind kind) const {
    const auto found = tensors_.find({name, kind});
    return found == tensors_.end() ? nullptr : found->second;
  }

 private:
  std::map<std::pair<std::string_view, TensorKind>, const ManifestTensor*> tensors_;
};

//! Throws Error unless a manifest has exactly the tensors of a model.
template <class Model>
void require_tensors_of(const Model& model, const Manifest& manifest, const TensorIndex& index,
                        const std::string& folder) {
  const auto refuse = [&](const std::string& problem) {
    throw Error{"moepar: the checkpoint " + folder + " is not of this model: " + problem +
                ". Fix: load it into the model that it was saved from."};
  };
  const auto shape = [](Index rows, Index columns) { return std::to_string(rows) + " x " + std::to_string(columns); };
  std::set<std::pair<std::string, TensorKind>> wanted;
  for_each_parameter(model, [&](const Site& site, const Parameter& parameter) {
    for (Index copy = 0; copy < site.copies; ++copy)
      for (const TensorKind kind : {TensorKind::weight, TensorKind::first_moment, TensorKind::second_moment}) {
        const std::string name = site.name(copy);
        const ManifestTensor* tensor = index.find(name, kind);
        if (tensor == nullptr)
          refuse("it has no " + text_of(ManifestTensor{.name = name, .kind = kind}));
        else if (tensor->rows != parameter.rows || tensor->columns != parameter.columns)
          refuse(text_of(*tensor) + " is " + shape(tensor->rows, tensor->columns) + ", the model has " +
                 shape(parameter.rows, parameter.columns));
        wanted.insert({name, kind});
      }
  });
  for (const ManifestTensor& tensor : manifest.tensors)
    if (!wanted.contains({tensor.name, tensor.kind})) refuse("it has a " + text_of(tensor) + " too many");
}

//! Reads what this rank keeps, straight into place, file by file.
template <class Rank, class Model>
void read_kept(const TrainingState<Rank, Model>& state, const Manifest& manifest, const TensorIndex& index,
               const std::string& folder) {
  struct Read {
    Index file, begin;
    std::span<float> to;
  };
  std::vector<Read> reads;
  for (const ListedParameter& listed : state.parameters) {
    const std::span<float> kept[] = {state.rank.kept(listed.parameter),
                                     state.optimizer.first(listed.parameter, state.rank),
                                     state.optimizer.second(listed.parameter, state.rank)};
    listed.for_each_run([&](Index copy, Index first, Index count, Index at) {
      for (const TensorKind kind : {TensorKind::weight, TensorKind::first_moment, TensorKind::second_moment}) {
        const auto& parts = index.find(listed.names[static_cast<std::size_t>(copy)], kind)->parts;
        auto part = std::partition_point(parts.begin(), parts.end(),
                                         [&](const ManifestPart& each) { return each.first + each.count <= first; });
        for (Index done = 0; done < count; ++part) {
          const Index skip = first + done - part->first, take = std::min(part->count - skip, count - done);
          reads.push_back({part->file, part->begin + 4 * skip,
                           kept[static_cast<std::size_t>(kind)].subspan(static_cast<std::size_t>(at + done),
                                                                        static_cast<std::size_t>(take))});
          done += take;
        }
      }
    });
  }
  std::sort(reads.begin(), reads.end(),
            [](const Read& a, const Read& b) { return std::tie(a.file, a.begin) < std::tie(b.file, b.begin); });
  std::optional<DiskFile> file;
  for (std::size_t i = 0; i < reads.size(); ++i) {
    if (i == 0 || reads[i].file != reads[i - 1].file)
      file = DiskFile::open(folder + '/' + manifest.files[static_cast<std::size_t>(reads[i].file)].name);
    file->read_at(std::as_writable_bytes(reads[i].to), reads[i].begin);
  }
}

}  // namespace detail
}  // namespace moepar
