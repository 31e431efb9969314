// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <moepar/core/index.hpp>

namespace moepar {

//! How the rows of a matrix are cut: first by group (the experts of a rank; one group outside of them), then by granule
//! of the batch. Granule i of group g is rows [begins[g * granules + i], begins[g * granules + i + 1]), possibly none.
//! Sums over rows are made a granule at a time and joined by the tree over granules: after granule i of a group the two
//! newest sums are added merges[i] times, which leaves `parts` sums of every group. Does not own what it points to; on
//! a counting rank it points to nothing.
struct RowGroups {
  Index groups = 1;
  Index granules = 1;
  Index parts = 1;
  const Index* begins = nullptr;         //!< groups * granules + 1 rows, ascending from 0
  const std::uint8_t* merges = nullptr;  //!< one number a granule, the same for all groups

  [[nodiscard]] constexpr Index rows() const { return begins[groups * granules]; }
  [[nodiscard]] constexpr Index begin_of(Index group) const { return begins[group * granules]; }
  [[nodiscard]] constexpr Index end_of(Index group) const { return begins[(group + 1) * granules]; }
};

}  // namespace moepar
