// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <moepar/checkpoint/checkpoint_check.hpp>
#include <moepar/checkpoint/manifest.hpp>
#include <moepar/checkpoint/manifest_reader.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <string>
#include <system_error>
#include <vector>

namespace moepar {

//! What is known of a checkpoint after every byte of it was read.
struct CheckpointReport {
  std::string folder{};
  Manifest manifest{};                 //!< empty when it could not be read
  std::vector<bool> corrupt{};         //!< by tensor of the manifest
  std::vector<std::string> faults{};   //!< sentences that name tensor, file, bytes and both hashes; empty: all is well
  std::vector<std::string> surplus{};  //!< names in the folder that the manifest does not know: harmless
  Index parts = 0;                     //!< that were read
  Index bytes = 0;

  [[nodiscard]] bool good() const { return faults.empty(); }

  //! For a person: a line a tensor, then the faults.
  [[nodiscard]] std::string text() const {
    std::string out = folder + ": step " + std::to_string(manifest.step) + ", " +
                      std::to_string(manifest.tensors.size()) + " tensors in " + std::to_string(parts) + " parts, " +
                      std::to_string(manifest.files.size()) + " files, " + std::to_string(bytes) + " bytes\n";
    for (std::size_t i = 0; i < manifest.tensors.size(); ++i)
      out += (corrupt[i] ? "CORRUPT  " : "ok       ") + text_of(manifest.tensors[i]) + '\n';
    for (const std::string& name : surplus) out += "surplus  " + name + '\n';
    for (const std::string& fault : faults) out += fault + '\n';
    return out += good() ? "good\n" : std::to_string(faults.size()) + " faults\n";
  }
};

//! Reads the checkpoint in `folder` (run/step-00000100) and compares every byte with its manifest. Needs no model, one
//! thread, and 1 MiB.
inline CheckpointReport verify_checkpoint(const std::string& folder) {
  CheckpointReport report{.folder = folder};
  try {
    report.manifest = read_manifest(folder);
  } catch (const Error& error) {
    report.faults.emplace_back(error.what());
    return report;
  }
  CheckpointCheck check{folder, report.manifest};
  for (Index file = 0; file < static_cast<Index>(report.manifest.files.size()); ++file) {
    if (const auto fault = check.fault_of_file(file)) report.faults.push_back(*fault);
    report.bytes += report.manifest.files[static_cast<std::size_t>(file)].bytes;
  }
  report.corrupt.resize(report.manifest.tensors.size());
  for (const PlacedPart& part : placed_parts(report.manifest)) {
    ++report.parts;
    const auto fault = check.fault_of_part(part);
    if (!fault) continue;
    report.faults.push_back(*fault);
    report.corrupt[static_cast<std::size_t>(part.tensor - report.manifest.tensors.data())] = true;
  }
  std::error_code error;
  for (std::filesystem::directory_iterator entry{folder, error}, end; !error && entry != end; entry.increment(error)) {
    const std::string name = entry->path().filename().string();
    const auto& files = report.manifest.files;
    if (name != "manifest.json" &&
        std::none_of(files.begin(), files.end(), [&](const ManifestFile& file) { return file.name == name; }))
      report.surplus.push_back(name);
  }
  std::sort(report.surplus.begin(), report.surplus.end());
  return report;
}

}  // namespace moepar
