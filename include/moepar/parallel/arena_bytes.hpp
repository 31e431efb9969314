// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>

namespace moepar {

//! Bytes of the arenas of a rank: what a plan says, or what was measured on a rank that counts.
struct ArenaBytes {
  Index activations = 0;  //!< what forward keeps for backward, and scratch
  Index parameters = 0;   //!< gathered parameters, and parts of their gradients
  Index routes = 0;       //!< plans and counts of the routers
  Index constants = 0;    //!< rotary tables
  [[nodiscard]] constexpr Index total() const { return activations + parameters + routes + constants; }
  friend constexpr bool operator==(const ArenaBytes&, const ArenaBytes&) = default;
};

//! The most that was in use in each arena.
template <class Rank> constexpr ArenaBytes high_water(Rank& rank) {
  return {.activations = rank.arena().high_water(),
          .parameters = rank.parameters().high_water(),
          .routes = rank.routes().high_water(),
          .constants = rank.constants().high_water()};
}

}  // namespace moepar
