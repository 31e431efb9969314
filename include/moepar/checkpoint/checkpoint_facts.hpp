// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/error.hpp>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moepar {

//! What a run says about itself in its checkpoints, besides values: names and texts, e.g. {"seed", "1234"}. A run that
//! goes on reads from them where it stood, and compares those that must not change.
using Facts = std::vector<std::pair<std::string, std::string>>;

//! The text of a fact; nullptr where there is none.
inline const std::string* find_fact(const Facts& facts, std::string_view name) {
  for (const auto& [each, text] : facts)
    if (each == name) return &text;
  return nullptr;
}

//! Throws Error that names every fact of `now` that `saved` lacks or has otherwise. Facts that only `saved` has are no
//! matter.
inline void require_same_facts(const Facts& saved, const Facts& now) {
  std::string differences;
  for (const auto& [name, text] : now) {
    const std::string* before = find_fact(saved, name);
    if (before != nullptr && *before == text) continue;
    differences += (differences.empty() ? "" : "; ") + name + " was " + (before == nullptr ? "not there" : *before) +
                   " and is " + text + " now";
  }
  if (!differences.empty())
    throw Error{"moepar: the checkpoint is of another run: " + differences +
                ". Fix: go on with the settings of the checkpoint, or start a run in another folder."};
}

}  // namespace moepar
