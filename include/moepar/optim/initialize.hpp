// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/normal.hpp>
#include <moepar/core/random.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/optim/parameter_list.hpp>
#include <moepar/optim/tied.hpp>
#include <moepar/tensor/parameter.hpp>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moepar {

//! Initial values of what this rank keeps: ones for norms, else normal with mean 0. Each element depends on the seed,
//! the parameter's name and its place in the whole tensor, never on a layout. rank: see HostRank::kept.
template <class Rank>
void initialize(Rank& rank, const std::vector<ListedParameter>& parameters, std::uint64_t seed,
                double standard_deviation) {
  for (const ListedParameter& listed : parameters) {
    const auto kept = rank.kept(listed.parameter);
    listed.for_each_run([&](Index copy, Index first, Index count, Index at) {
      const auto run = kept.subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count));
      if (listed.parameter.initial == Initial::one)
        std::fill(run.begin(), run.end(), 1.0f);
      else
        fill_normal(run, random_key(seed, listed.names[static_cast<std::size_t>(copy)]), /*step=*/0, first, 0.0,
                    standard_deviation);
    });
    copy_to_uses(rank, listed);
  }
}

//! Throws Error when two parameters of the model would start equal: their names lead to one random stream.
template <class Model> void require_distinct_streams(const Model& model, std::uint64_t seed) {
  std::set<std::pair<std::uint32_t, std::uint32_t>> keys;
  for_each_parameter(model, [&](const Site& site, const Parameter&) {
    for (Index copy = 0; copy < site.copies; ++copy) {
      const std::string name = site.name(copy);
      const RandomKey key = random_key(seed, name);
      if (!keys.insert({key.low, key.high}).second)
        throw Error{"moepar: the parameter " + name +
                    " has the name, or the random stream, of another one. Fix: give members different names, or take "
                    "another seed."};
    }
  });
}

}  // namespace moepar
