// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <moepar/checkpoint/hash128.hpp>
#include <moepar/checkpoint/manifest.hpp>
#include <moepar/checkpoint/tensor_header.hpp>
#include <moepar/checkpoint/tensor_layout.hpp>
#include <moepar/core/index.hpp>
#include <moepar/optim/parameter_list.hpp>
#include <moepar/parallel/axes.hpp>
#include <moepar/topology/layout.hpp>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moepar {

//! A run of one tensor in the part file of a rank.
struct TrainingPart {
  std::string name{};         //!< in the file: "model.norm.weight/first_moment@1024", see part_name
  std::size_t parameter = 0;  //!< place in the list of parameters
  Index copy = 0;             //!< of the whole model's
  TensorKind kind = TensorKind::weight;
  Index first = 0;  //!< of the tensor's flat index
  Index count = 0;
  Index kept = 0;   //!< first element among those that the rank keeps of the parameter
  Index begin = 0;  //!< byte in the file
};

//! What a rank writes: its runs, each where it is kept first, as one safetensors file.
struct PartFile {
  std::vector<TrainingPart> parts{};  //!< as they follow one another in the file
  std::string header{};
  Index bytes = 0;  //!< header and values
};

//! A tensor's name with its kind, and the first element of a part of it.
inline std::string part_name(const std::string& tensor, TensorKind kind, Index first) {
  std::string name = tensor;
  if (kind != TensorKind::weight) (name += '/') += tensor_kinds[static_cast<std::size_t>(kind)];
  return (name += '@') += std::to_string(first);
}

//! The part file of `rank`, of whose parameters `list` is the list. Any rank may ask for that of any other.
inline PartFile part_file(const std::vector<ListedParameter>& list, const Layout& layout, Index rank) {
  PartFile file;
  for (std::size_t i = 0; i < list.size(); ++i) {
    const ListedParameter& listed = list[i];
    if (replicas_of(layout, listed.parameter.placement, rank).rank != 0) continue;  // another rank keeps it first
    listed.for_each_run([&](Index copy, Index first, Index count, Index kept) {
      for (const TensorKind kind : {TensorKind::weight, TensorKind::first_moment, TensorKind::second_moment})
        file.parts.push_back({.name = part_name(listed.names[static_cast<std::size_t>(copy)], kind, first),
                              .parameter = i,
                              .copy = listed.first_copy + copy,
                              .kind = kind,
                              .first = first,
                              .count = count,
                              .kept = kept});
    });
  }
  std::sort(file.parts.begin(), file.parts.end(),
            [](const TrainingPart& a, const TrainingPart& b) { return a.name < b.name; });
  std::vector<TensorEntry> entries;
  for (const TrainingPart& part : file.parts)
    entries.push_back({.name = part.name, .shape = {static_cast<std::uint64_t>(part.count)}});
  const TensorHeader header = lay_out_tensors(entries, {{"format", "moepar-training"}});
  for (std::size_t i = 0; i < file.parts.size(); ++i)  // of one type, so by name in the file too
    file.parts[i].begin = static_cast<Index>(header.data_begin + header.tensors[i].begin);
  file.header = tensor_header_bytes(header);
  file.bytes = static_cast<Index>(header.file_size());
  return file;
}

//! Sets files and tensors of a manifest: of all ranks of its layout, from a bound model. hashes: those of the parts of
//! rank 0 in the order of its file, then those of rank 1, ...
template <class Model> void set_parts(Manifest& manifest, const Model& model, std::span<const Hash128> hashes) {
  std::vector<std::size_t> first_tensor;  // by parameter
  for (Index rank = 0; rank < manifest.layout.world; ++rank) {
    const std::vector<ListedParameter> list = list_parameters(model, manifest.layout, rank);
    if (rank == 0)
      for (const ListedParameter& listed : list) {
        first_tensor.push_back(manifest.tensors.size());
        for (Index copy = 0; copy < listed.all_copies; ++copy)
          for (const TensorKind kind : {TensorKind::weight, TensorKind::first_moment, TensorKind::second_moment})
            manifest.tensors.push_back(
                {.kind = kind, .rows = listed.parameter.rows, .columns = listed.parameter.columns});
      }
    const PartFile file = part_file(list, manifest.layout, rank);
    manifest.files.push_back({.name = part_file_name(rank),
                              .bytes = file.bytes,
                              .header_bytes = static_cast<Index>(file.header.size()),
                              .header_hash = hash128(file.header)});
    for (const TrainingPart& part : file.parts) {
      ManifestTensor& tensor = manifest.tensors[first_tensor[part.parameter] + static_cast<std::size_t>(3 * part.copy) +
                                                static_cast<std::size_t>(part.kind)];
      const ListedParameter& listed = list[part.parameter];
      tensor.name = listed.names[static_cast<std::size_t>(part.copy - listed.first_copy)];
      tensor.parts.push_back(
          {.file = rank, .first = part.first, .count = part.count, .begin = part.begin, .hash = hashes.front()});
      hashes = hashes.subspan(1);
    }
  }
  for (ManifestTensor& tensor : manifest.tensors)
    std::sort(tensor.parts.begin(), tensor.parts.end(),
              [](const ManifestPart& a, const ManifestPart& b) { return a.first < b.first; });
}

}  // namespace moepar
