// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/tensor/row_groups.hpp>

namespace moepar::cpu::detail {

//! What a tile does with some rows of one granule: it starts at zero, or goes on with the sum that it has put aside
//! (`resumes`), adds the rows, and then either puts the sum aside (`pauses`: the granule goes on in the next block of
//! rows) or adds to it `recent` sums that this block of rows has left and then `older` ones that earlier blocks have.
struct LeafStep {
  Index rows = 0;
  Index recent = 0;
  Index older = 0;
  bool resumes = false;
  bool pauses = false;
};

//! Walks through the granules of one group, a block of rows at a time, and tells what every tile has to do. Granules
//! without rows are absent, not zero (absent + x = x): they cost nothing, and only the sign of a zero could tell.
class GranuleWalk {
 public:
  GranuleWalk(const RowGroups& groups, Index group)
      : begins_{groups.begins + group * groups.granules},
        merges_{groups.merges},
        granules_{groups.granules},
        row_{begins_[0]} {}

  //! Goes on to row `end`, not before the last; to the group's last row for the last call. Writes at most one step a
  //! row and returns their number.
  Index advance(Index end, LeafStep* steps) {
    Index count = 0, recent = 0, older = sums_;
    for (; granule_ < granules_; ++granule_) {
      const Index granule_end = begins_[granule_ + 1];
      const bool present = begins_[granule_] < granule_end;
      if (present) {
        const Index stop = std::min(granule_end, end);
        if (stop == row_) break;
        if (count > 0) ++recent;  // what the step before has made
        LeafStep& step = steps[count++];
        step = {stop - row_, 0, 0, resumes_, stop < granule_end};
        row_ = stop;
        resumes_ = step.pauses;
        if (step.pauses) break;
      }
      // merges where something is absent move nothing: the newest sum that is there is the one just made
      bool here = present;
      for (Index merge = merges_[granule_]; merge > 0; --merge) {
        const bool before = present_[--depth_];
        if (before && here) {
          LeafStep& step = steps[count - 1];
          ++(recent > 0 ? step.recent : step.older);
          --(recent > 0 ? recent : older);
        }
        here = here || before;
      }
      present_[depth_++] = here;
    }
    sums_ = older + recent + (count > 0 && !resumes_ ? 1 : 0);
    return count;
  }

  //! Sums that wait, besides one put aside; after the last call those of the parts that are there, ascending.
  [[nodiscard]] Index sums() const { return sums_; }
  //! After the last call: whether part `part` has rows.
  [[nodiscard]] bool present(Index part) const { return present_[part]; }

  //! The most sums of a group that are there at a time, the one being made included.
  static Index most_sums(const RowGroups& groups) {
    Index most = 0, depth = 0;
    for (Index granule = 0; granule < groups.granules; ++granule) {
      most = std::max(most, ++depth);
      depth -= groups.merges[granule];
    }
    return most;
  }

 private:
  const Index* begins_;
  const std::uint8_t* merges_;
  Index granules_;
  Index row_;
  Index granule_ = 0;
  Index depth_ = 0;  // of the stack of which present_ tells what is there
  Index sums_ = 0;
  bool resumes_ = false;
  bool present_[GranuleTree::max_parts + 1] = {};
};

}  // namespace moepar::cpu::detail
