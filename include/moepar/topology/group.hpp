// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>

namespace moepar {

//! A process group as an arithmetic progression of world ranks, seen from one member: its `size`, the member's position
//! `rank` in 0..size-1 and the distance `stride` between neighbours. Needs no list of ranks, whatever the world.
struct Group {
  Index size = 1;
  Index rank = 0;
  Index stride = 1;

  //! World rank of the member at `position`, asked by the member whose world rank is `own`.
  [[nodiscard]] constexpr Index member(Index position, Index own) const { return own + (position - rank) * stride; }

  friend constexpr bool operator==(const Group&, const Group&) = default;
};

}  // namespace moepar
