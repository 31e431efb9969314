// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <moepar/core/index.hpp>

namespace moepar {

//! The `top_k` largest of `count` scores, largest first; of equal scores the lower index comes first. Scores must not
//! be NaN. top_k <= count.
template <class Element> constexpr void top_k(const Element* scores, Index count, Index top_k, std::int32_t* chosen) {
  for (Index slot = 0; slot < top_k; ++slot) {
    Index best = -1;
    for (Index i = 0; i < count; ++i) {
      bool taken = false;
      for (Index before = 0; before < slot; ++before) taken = taken || chosen[before] == i;
      if (!taken && (best < 0 || scores[i] > scores[best])) best = i;
    }
    chosen[slot] = static_cast<std::int32_t>(best);
  }
}

}  // namespace moepar
