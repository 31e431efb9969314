// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <moepar/comm/call.hpp>
#include <moepar/comm/collective_error.hpp>
#include <moepar/comm/pull/world_record.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <string>
#include <utility>
#include <vector>

namespace moepar::detail {

//! What a member shows the others for the time of one call. The pointers are its own memory, read by the others between
//! meet() and part().
struct MeetingSlot {
  Call call{};
  const void* data = nullptr;            //!< elements, or the pieces of a call of several arrays
  Index pieces = 0;                      //!< how many
  std::uint64_t counts_hash = 0;         //!< of the counts that all members know
  std::uint64_t tree_hash = 0;           //!< of a reduction
  const Index* counts = nullptr;         //!< of all_to_all_v: what it sends, then what it expects
  const GranuleRange* ranges = nullptr;  //!< of a reduction: the granules of its parts
  Index parts = 0;
};

//! Who has come to a meeting, and with which call. The part of a meeting that all transports share.
class MeetingBoard {
 public:
  MeetingBoard(WorldRecord& world, std::vector<Index> members)
      : world_{&world}, members_{std::move(members)}, slots_(members_.size()), came_(members_.size()) {}

  [[nodiscard]] WorldRecord& world() const { return *world_; }
  [[nodiscard]] Index size() const { return static_cast<Index>(members_.size()); }
  [[nodiscard]] Index world_rank(Index position) const { return members_[static_cast<std::size_t>(position)]; }
  [[nodiscard]] const MeetingSlot& slot(Index position) const { return slots_[static_cast<std::size_t>(position)]; }

  //! Compares what the members showed. All of them see the same and throw the same.
  void require_agreement(Index position) const {
    const MeetingSlot& first = slot(0);
    for (Index other = 1; other < size(); ++other) {
      const MeetingSlot& it = slot(other);
      if (!it.call.agrees_with(first.call)) disagree(position, 0, other, "");
      if (it.pieces != first.pieces)
        disagree(position, 0, other,
                 " (the first has " + std::to_string(first.pieces) + " pieces, the second " +
                     std::to_string(it.pieces) + ")");
      if (it.counts_hash != first.counts_hash) disagree(position, 0, other, " (their lists of counts differ)");
      if (it.tree_hash != first.tree_hash) disagree(position, 0, other, " (their trees of granules differ)");
    }
  }

  //! Every member sees the same disagreement of the members `one` and `other` and throws it.
  [[noreturn]] void disagree(Index position, Index one, Index other, const std::string& detail) const {
    world_->fail(CollectiveError::Reason::mismatch, {world_rank(one), world_rank(other)},
                 "the members of the group made different calls: rank " + std::to_string(world_rank(one)) + " " +
                     text(slot(one).call) + ", rank " + std::to_string(world_rank(other)) + " " +
                     text(slot(other).call) + detail);
    world_->throw_failure(world_rank(position), slot(position).call);
  }

 protected:
  ~MeetingBoard() = default;

  //! Times that the member has come, this one included: its round.
  [[nodiscard]] Index came(Index position) const { return came_[static_cast<std::size_t>(position)].times.load(); }

  void show(Index position, const MeetingSlot& slot) { slots_[static_cast<std::size_t>(position)] = slot; }
  void set_came(Index position, Index times) { came_[static_cast<std::size_t>(position)].times.store(times); }

  //! Whether somebody who is missing in this round has left the world.
  [[nodiscard]] bool somebody_left(Index round) const {
    for (Index i = 0; i < size(); ++i)
      if (came(i) < round && world_->has_left(world_rank(i))) return true;
    return false;
  }

  //! Ends the world for those that are missing in `round`, or for those of them that left. Returns false, and does
  //! nothing, if all have come after all.
  bool fail_missing(Index round, bool left, const Call& call) const {
    const std::vector<Index> late = missing(round, left);
    if (late.empty()) return false;
    if (left) {
      world_->fail(CollectiveError::Reason::rank_left, late,
                   list(late) + " left, and " + text(call) + " needs " + (late.size() == 1 ? "it" : "them"));
      return true;
    }
    std::vector<Index> suspects = waited_for(late);
    std::string sentence =
        list(late) + " did not come to " + text(call) + " within " + std::to_string(world_->deadline().count()) + " ms";
    if (suspects.empty()) suspects = late;  // all of them wait for one another
    if (suspects != late) sentence += ", the reason being " + list(suspects);
    world_->fail(CollectiveError::Reason::deadline, suspects, sentence);
    return true;
  }

 private:
  [[nodiscard]] std::vector<Index> missing(Index round, bool who_left) const {
    std::vector<Index> ranks;
    for (Index i = 0; i < size(); ++i)
      if (came(i) < round && (!who_left || world_->has_left(world_rank(i)))) ranks.push_back(world_rank(i));
    return ranks;
  }

  //! Whoever is behind the absence of `late`: a rank that waits in another meeting is not at fault, but those that are
  //! missing there, and so on.
  [[nodiscard]] std::vector<Index> waited_for(std::vector<Index> late) const {
    std::vector<Index> found;
    for (std::size_t next = 0; next < late.size(); ++next) {  // `late` grows
      const MeetingBoard* where = world_->where(late[next]);
      std::vector<Index> there;
      if (where != nullptr) there = where->missing(where->newest(), false);
      if (there.empty() || std::find(there.begin(), there.end(), late[next]) != there.end()) {
        found.push_back(late[next]);
        continue;
      }
      for (const Index rank : there)
        if (std::find(late.begin(), late.end(), rank) == late.end()) late.push_back(rank);
    }
    std::sort(found.begin(), found.end());
    return found;
  }

  [[nodiscard]] Index newest() const {
    Index round = 0;
    for (Index i = 0; i < size(); ++i) round = std::max(round, came(i));
    return round;
  }

  static std::string list(const std::vector<Index>& ranks) {
    std::string out = ranks.size() == 1 ? "rank " : "ranks ";
    for (std::size_t i = 0; i < ranks.size(); ++i) out += (i == 0 ? "" : ", ") + std::to_string(ranks[i]);
    return out;
  }

  struct alignas(64) Came {
    std::atomic<Index> times{0};
  };
  WorldRecord* world_;
  std::vector<Index> members_;
  std::vector<MeetingSlot> slots_;
  std::vector<Came> came_;
};

}  // namespace moepar::detail
