// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/optim/parameter_list.hpp>
#include <span>
#include <string>
#include <vector>

// Parameters that get their values piece by piece, from files or from other ranks: whether every element got one.
namespace moepar {

//! A NaN that no arithmetic yields: its payload is ours.
inline constexpr std::uint32_t unset_bits = 0x7fa55a5a;

//! Marks every value that this rank keeps as unset.
template <class Rank> void mark_unset(Rank& rank, const std::vector<ListedParameter>& parameters) {
  for (const ListedParameter& listed : parameters) {
    const std::span<float> kept = rank.kept(listed.parameter);
    std::fill(kept.begin(), kept.end(), std::bit_cast<float>(unset_bits));
  }
}

//! Throws Error that names the first parameter of which some value is still unset.
template <class Rank> void require_all_set(Rank& rank, const std::vector<ListedParameter>& parameters) {
  for (const ListedParameter& listed : parameters) {
    const std::span<const float> kept = rank.kept(listed.parameter);
    listed.for_each_run([&](Index copy, Index first, Index count, Index at) {
      for (Index i = 0; i < count; ++i)
        if (std::bit_cast<std::uint32_t>(kept[static_cast<std::size_t>(at + i)]) == unset_bits)
          throw Error{"moepar: rank " + std::to_string(rank.rank()) + " has no value for element " +
                      std::to_string(first + i) + " of " + listed.names[static_cast<std::size_t>(copy)] +
                      ". Fix: load every parameter before the first use, or start from random values."};
    });
  }
}

}  // namespace moepar
