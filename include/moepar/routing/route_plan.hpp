// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <moepar/core/index.hpp>

namespace moepar {

//! Where the tokens of a rank go in one layer: for every token its experts and their weights, and the order in which
//! rows travel. Dispatch, combine, both backward passes and recomputation read this one value and cannot route again.
//! Token rows are ascending by (sequence, position); sorted rows, one for each token and slot, by (expert, token).
//! A view: its memory is the rank's, until the end of the micro-step.
template <class Element> struct RoutePlan {
  bool made = false;
  Index rows = 0;      //!< room for so many tokens; those there are come from RowGroups
  Index top_k = 0;     //!< slots of a token
  Index experts = 0;   //!< of the whole layer
  Index granules = 0;  //!< sequences of this rank and micro-step
  Index layer = 0;     //!< among the routed layers of the model, as they run

  std::int32_t* expert = nullptr;    //!< rows x top_k
  Element* weight = nullptr;         //!< rows x top_k
  Index* order = nullptr;            //!< sorted row -> token row
  Element* sorted_weight = nullptr;  //!< sorted row -> weight
  Index* place = nullptr;            //!< rows x top_k: (token, slot) -> sorted row
  Index* expert_begin = nullptr;     //!< experts + 1: first sorted row of an expert
  Index* counts = nullptr;           //!< granules x experts: rows that a sequence sends to an expert

  //! The first sorted row of `expert_index` that belongs to granule `granule` or a later one.
  [[nodiscard]] Index sorted_begin(Index expert_index, Index granule) const {
    Index begin = expert_begin[expert_index];
    for (Index g = 0; g < granule; ++g) begin += counts[g * experts + expert_index];
    return begin;
  }
};

}  // namespace moepar
