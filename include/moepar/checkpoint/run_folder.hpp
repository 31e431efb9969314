// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <fcntl.h>
#include <stdio.h>  // renameat2

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <cstddef>
#include <filesystem>
#include <moepar/checkpoint/disk_file.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

// The folder of a run: a folder a checkpoint, whose name says its step and what it is:
//
//   step-00000100           a checkpoint, complete once it has this name
//   step-00000200.partial   being written, or left by a run that died
//   step-00000050.removed   being removed, or left so
//   step-00000300.later     complete, but of a step that the run went back behind: kept, and never loaded by itself
namespace moepar {

enum class StepState { complete, partial, removed, later };
inline constexpr std::string_view step_endings[] = {"", ".partial", ".removed", ".later"};

struct StepFolder {
  Index step = 0;
  StepState state = StepState::complete;
};

//! "step-00000100", "step-00000100.partial"
inline std::string step_name(Index step, StepState state = StepState::complete) {
  const std::string digits = std::to_string(step);
  std::string name = "step-" + std::string(8 - std::min<std::size_t>(8, digits.size()), '0') + digits;
  return name += step_endings[static_cast<std::size_t>(state)];
}
inline std::string step_path(const std::string& run, Index step, StepState state = StepState::complete) {
  return run + '/' + step_name(step, state);
}

//! What such a name says; nothing for another name.
inline std::optional<StepFolder> step_of_name(std::string_view name) {
  constexpr std::string_view begin = "step-";
  if (name.substr(0, begin.size()) != begin) return {};
  StepFolder folder;
  (void)std::from_chars(name.data() + begin.size(), name.data() + name.size(), folder.step);
  for (std::size_t i = 0; i < 4; ++i) {
    folder.state = static_cast<StepState>(i);
    if (folder.step >= 0 && step_name(folder.step, folder.state) == name) return folder;
  }
  return {};
}

//! Everything of a checkpoint in the folder of a run, by step. Throws Error when the folder cannot be read.
inline std::vector<StepFolder> step_folders(const std::string& run) {
  std::vector<StepFolder> folders;
  std::error_code error;
  for (std::filesystem::directory_iterator entry{run, error}, end; !error && entry != end; entry.increment(error))
    if (const auto folder = step_of_name(entry->path().filename().string())) folders.push_back(*folder);
  if (error)
    throw Error{"moepar: the folder '" + run + "' of a run could not be read (" + error.message() +
                "). Fix: check the path and its permissions."};
  std::sort(folders.begin(), folders.end(), [](const StepFolder& a, const StepFolder& b) {
    return a.step != b.step ? a.step < b.step : a.state < b.state;
  });
  return folders;
}

namespace detail {

//! Whether a checkpoint has its manifest; a folder without is none, whatever its name.
inline bool has_manifest(const std::string& run, const StepFolder& folder) {
  std::error_code ignored;
  return std::filesystem::is_regular_file(step_path(run, folder.step, folder.state) + "/manifest.json", ignored);
}

//! Removes what runs that died have left, as far as that goes: what stays has a name that says it all.
inline void remove_leftovers(const std::string& run) {
  std::error_code ignored;
  for (const StepFolder& folder : step_folders(run))
    if (folder.state == StepState::partial || folder.state == StepState::removed)
      std::filesystem::remove_all(step_path(run, folder.step, folder.state), ignored);
}

//! Gives a finished folder its name, or an equally finished one in its place: at no time is there none of that name.
inline void publish_step(const std::string& run, Index step) {
  const std::string partial = step_path(run, step, StepState::partial), complete = step_path(run, step);
  std::error_code ignored;
  if (!std::filesystem::exists(complete, ignored)) return replace_file(partial, complete);
  if (::renameat2(AT_FDCWD, partial.c_str(), AT_FDCWD, complete.c_str(), RENAME_EXCHANGE) == 0) return;
  if (errno != EINVAL && errno != ENOSYS)
    refuse_file("'" + partial + "' could not take the place of '" + complete + "'", errno, "check the disk");
  replace_file(complete, step_path(run, step, StepState::removed));  // a file system without exchange
  replace_file(partial, complete);
}

//! After `step` was saved: of the others before it the newest keep - 1 stay, those after it are set aside. What cannot
//! be removed now is left for the next time.
inline void keep_newest(const std::string& run, Index step, Index keep) {
  std::error_code ignored;
  const std::vector<StepFolder> folders = step_folders(run);
  std::vector<std::string> removed;
  Index kept = 1;
  for (auto folder = folders.rbegin(); folder != folders.rend(); ++folder) {
    if (folder->state != StepState::complete || folder->step == step) continue;
    const std::string path = step_path(run, folder->step), gone = step_path(run, folder->step, StepState::removed);
    if (folder->step > step) {
      const std::string later = step_path(run, folder->step, StepState::later);
      std::filesystem::remove_all(later, ignored);
      std::filesystem::rename(path, later, ignored);
    } else if (has_manifest(run, *folder) && ++kept > keep) {
      std::filesystem::remove_all(gone, ignored);
      std::filesystem::rename(path, gone, ignored);
    }
  }
  sync_folder(run);  // first the names are gone for good, then the files
  remove_leftovers(run);
}

}  // namespace detail
}  // namespace moepar
