// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <moepar/checkpoint/hash128.hpp>
#include <moepar/checkpoint/model_folder.hpp>
#include <moepar/checkpoint/verify_checkpoint.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/program/load_values.hpp>
#include <moepar/program/options.hpp>
#include <moepar/program/result.hpp>
#include <string>
#include <vector>

namespace moepar::program {

//! Reads every byte of a checkpoint, or of all checkpoints of a run, and compares it with its hash; of weights without
//! a manifest, which have no hash to compare with, checks the files and tells the hash of each tensor. A line a tensor
//! on standard error, the verdict as JSON. Returns whether all is well.
inline bool verify(const ProgramOptions& options) {
  const std::vector<std::string> checkpoints = checkpoints_of(options.folder);
  Index tensors = 0, faults = 0, bytes = 0;
  std::string first_fault;
  for (const std::string& folder : checkpoints) {
    const CheckpointReport report = verify_checkpoint(folder);
    std::fputs(report.text().c_str(), stderr);
    tensors += static_cast<Index>(report.manifest.tensors.size());
    faults += static_cast<Index>(report.faults.size());
    bytes += report.bytes;
    if (first_fault.empty() && !report.good()) first_fault = report.faults[0];
  }
  if (checkpoints.empty()) {
    const ModelFolder folder{options.folder};
    std::vector<std::byte> all;
    for (const ModelFolder::Tensor& tensor : folder.tensors()) {
      constexpr Index piece = 1_MiB;
      Hasher128 hash;
      for (Index at = 0; at < tensor.info->bytes(); at += piece) {
        all.resize(static_cast<std::size_t>(std::min(piece, tensor.info->bytes() - at)));
        folder.files()[tensor.file].read_bytes(*tensor.info, at, all);
        hash.add(all);
      }
      std::fprintf(stderr, "%s  %s\n", text_of(hash.hash()).c_str(), tensor.info->name.c_str());
      bytes += tensor.info->bytes();
      ++tensors;
    }
  }
  ProgramResult result;
  result.add("good", faults == 0)
      .add("checkpoints", static_cast<Index>(checkpoints.size()))
      .add("tensors", tensors)
      .add("bytes", bytes)
      .add("faults", faults);
  if (faults > 0) result.add("first_fault", first_fault);
  result.write(options.out);
  return faults == 0;
}

}  // namespace moepar::program
