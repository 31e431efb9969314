// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/checkpoint/run_long_together.hpp>
#include <moepar/checkpoint/run_together.hpp>
#include <moepar/checkpoint/tensor_file.hpp>
#include <moepar/checkpoint/tensor_layout.hpp>
#include <moepar/core/index.hpp>
#include <moepar/nn/path.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/tensor/parameter.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moepar {

//! A safetensors file that all ranks write together, each its own slices of the tensors; no rank holds a whole one.
//! All ranks make one with the same arguments, on one file system, and finish it. An error on one rank is thrown on
//! all, and leaves nothing behind but a file that was there before.
template <class Communicator> class SharedTensorFile {
 public:
  SharedTensorFile(Communicator& world, const std::string& path, const std::vector<TensorEntry>& entries,
                   const TensorMetadata& metadata = {})
      : world_{&world} {
    run_together(*world_, [&] {
      if (world_->rank() == 0) writer_.emplace(TensorFileWriter::create(path, entries, metadata));
    });
    run_together(*world_, [&] {
      if (world_->rank() != 0) writer_.emplace(TensorFileWriter::join(path, entries, metadata));
    });
  }

  //! Elements first, first + 1, ... of a tensor.
  void write(const std::string& name, Index first, std::span<const float> values) {
    writer_->write(name, first, values);
  }

  //! After all ranks have written: the file gets its name.
  void finish() {
    run_long_together(*world_, [&] {
      if (world_->rank() != 0) writer_->close();
    });
    run_long_together(*world_, [&] {
      if (world_->rank() == 0) writer_->finish();
    });
  }

 private:
  Communicator* world_;
  std::optional<TensorFileWriter> writer_{};
};

//! One entry a parameter of the model, each expert alone, under Hugging Face names.
template <class Model> std::vector<TensorEntry> tensor_entries(const Model& model, TensorType type) {
  std::vector<TensorEntry> entries;
  for_each_parameter(model, [&](const Site& site, const Parameter& parameter) {
    const auto rows = static_cast<std::uint64_t>(parameter.rows),
               columns = static_cast<std::uint64_t>(parameter.columns);
    const bool is_vector = parameter.initial == Initial::one;  // norms; a matrix of one row stays a matrix
    for (Index copy = 0; copy < site.copies; ++copy)
      entries.push_back({.name = site.name(copy),
                         .type = type,
                         .shape = is_vector ? std::vector{columns} : std::vector{rows, columns}});
  });
  return entries;
}

}  // namespace moepar
