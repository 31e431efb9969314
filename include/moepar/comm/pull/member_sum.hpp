// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <concepts>
#include <cstddef>
#include <moepar/comm/part_sum.hpp>
#include <moepar/comm/pieces.hpp>
#include <moepar/comm/pull/meeting_board.hpp>
#include <moepar/comm/scratch.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <numeric>
#include <span>
#include <string>
#include <vector>

namespace moepar::detail {

//! A sum over the parts that the members of a meeting show.
class MemberSum {
 public:
  //! Sets `ranges` to the granules of the sums that will be left. All members see the same parts and throw the same.
  void plan(const MeetingBoard& meeting, const GranuleTree& tree, std::span<GranuleRange> ranges) {
    sum_.clear();
    sources_.clear();
    for (Index member = 0; member < meeting.size(); ++member) {
      const MeetingSlot& slot = meeting.slot(member);
      for (Index part = 0; part < slot.parts; ++part) {
        sum_.add(slot.ranges[part], static_cast<Index>(sources_.size()));
        sources_.push_back({member, part});
      }
    }
    sum_.plan(tree);
    if (sum_.sums().size() > ranges.size())
      throw Error{"moepar: the sum leaves " + std::to_string(sum_.sums().size()) + " parts, there is room for " +
                  std::to_string(ranges.size()) + ". Fix: give room for cover_size(tree, granules of the group)."};
    std::copy(sum_.sums().begin(), sum_.sums().end(), ranges.begin());
  }

  //! The number of sums.
  [[nodiscard]] Index size() const { return static_cast<Index>(sum_.sums().size()); }

  //! Adds the elements of the member at `position`, of the piece with this number.
  template <std::floating_point T>
  void run(const MeetingBoard& meeting, Index position, std::size_t number, const ReducePiece<T>& piece,
           Scratch& scratch) const {
    const Index begin = std::accumulate(piece.counts, piece.counts + position, Index{0});
    const auto source = [&](Index part) {
      const Source& it = sources_[static_cast<std::size_t>(part)];
      const ReducePiece<T>& theirs = static_cast<const ReducePiece<T>*>(meeting.slot(it.member).data)[number];
      return theirs.own + it.part * theirs.stride + begin;
    };
    const auto sum = [&](Index i) { return piece.sums + i * piece.sum_stride; };
    sum_.run<T>(piece.counts[position], source, sum, scratch);
  }

 private:
  struct Source {
    Index member, part;
  };
  PartSum sum_;
  std::vector<Source> sources_;  //!< by the numbers of sum_
};

}  // namespace moepar::detail
