// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <moepar/comm/call.hpp>
#include <moepar/comm/pull/meeting_board.hpp>
#include <moepar/comm/pull/world_record.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/index.hpp>
#include <numeric>
#include <span>
#include <string>
#include <utility>

namespace moepar {

//! What all calls of a PullCommunicator have in common: the group, the frame of a call and the checks of its arguments.
template <class Meeting> class PullGroup {
 public:
  [[nodiscard]] Index size() const { return meeting_->size(); }
  [[nodiscard]] Index rank() const { return rank_; }
  [[nodiscard]] const char* axis() const { return axis_; }

 protected:
  PullGroup(const char* axis, Index rank, Meeting& meeting) : axis_{axis}, rank_{rank}, meeting_{&meeting} {}

  template <class T> static Index count_of(std::span<T> span) { return static_cast<Index>(span.size()); }
  static Index begin_of(const Index* counts, Index member) {
    return std::accumulate(counts, counts + member, Index{0});
  }

  Call call(Operation operation, ElementType element, Index count) {
    return {.operation = operation, .axis = axis_, .element = element, .count = count, .sequence = ++sequence_};
  }

  //! The frame of every collective: show, compare, pull, part.
  template <class Pull> void exchange(const Call& made, detail::MeetingSlot slot, Pull pull) {
    slot.call = made;
    in_meeting(*meeting_, rank_, slot, pull);
  }

  template <class Pull> void in_meeting(Meeting& meeting, Index position, const detail::MeetingSlot& slot, Pull pull) {
    detail::WorldRecord& world = meeting.world();
    const Index world_rank = meeting.world_rank(position);
    if (world.failed()) world.throw_failure(world_rank, slot.call);
    world.began(world_rank, slot.call, meeting);
    meeting.meet(position, slot);
    std::exception_ptr error;
    try {
      meeting.require_agreement(position);
      pull();
    } catch (...) {
      error = std::current_exception();
    }
    meeting.part(position);  // whatever happened: the others wait for it
    if (error) std::rethrow_exception(error);
    world.completed(world_rank);
  }

  //! What a member shows: elements, or pieces.
  template <class T> [[nodiscard]] const T* shown(Index member) const {
    return static_cast<const T*>(meeting_->slot(member).data);
  }

  template <class T> static void copy(const T* from, T* to, Index count) {
    if (from != to) std::copy_n(from, count, to);  // in place: nothing to do, and others read it
  }

  //! All members from the next one on, so that not everybody reads the same memory at once.
  template <class Visit> void for_others(Visit visit) const {
    for (Index step = 1; step <= size(); ++step) visit((rank_ + step) % size());
  }

  void require_member(Index member, const char* operation) const {
    if (member >= 0 && member < size()) return;
    throw Error{"moepar: " + std::string{operation} + '<' + axis_ + ">: there is no member " + std::to_string(member) +
                " in a group of " + std::to_string(size()) + ". Fix: pass a position in the group, not a world rank."};
  }
  void require_size(const char* operation, const char* what, Index got, Index expected) const {
    if (got == expected) return;
    throw Error{"moepar: " + std::string{operation} + '<' + axis_ + ">: `" + what + "` has " + std::to_string(got) +
                " elements, expected " + std::to_string(expected) + ". Fix: pass spans that fit the counts."};
  }
  [[noreturn]] void refuse_count(const char* operation) const {
    throw Error{"moepar: " + std::string{operation} + '<' + axis_ +
                ">: a count is negative. Fix: counts are 0 or more."};
  }
  void require_counts(const char* operation, std::span<const Index> counts, Index total) const {
    require_size(operation, "counts", count_of(counts), size());
    if (std::find_if(counts.begin(), counts.end(), [](Index count) { return count < 0; }) != counts.end())
      refuse_count(operation);
    require_size(operation, "data", total, std::accumulate(counts.begin(), counts.end(), Index{0}));
  }
  //! The elements of all pieces, and a hash of their counts: one list that all members know.
  template <class Piece>
  [[nodiscard]] std::pair<Index, std::uint64_t> agree_on_counts(const char* operation,
                                                                std::span<const Piece> pieces) const {
    Index total = 0;
    std::uint64_t hash = 0;
    for (const Piece& piece : pieces)
      for (Index member = 0; member < size(); ++member) {
        const Index count = piece.counts[member];
        if (count < 0) refuse_count(operation);
        total += count;
        hash = mix(hash + 1 + static_cast<std::uint64_t>(count));
      }
    return {total, hash};
  }

  static std::uint64_t hash_of(const GranuleTree& tree) {
    std::uint64_t hash = 0;
    for (Index level = 0; level < tree.levels(); ++level)
      hash = mix(hash + static_cast<std::uint64_t>(tree.node_size(level)));
    return hash;
  }

  const char* axis_;
  Index rank_;
  Meeting* meeting_;
  Index sequence_ = 0;
};

}  // namespace moepar
