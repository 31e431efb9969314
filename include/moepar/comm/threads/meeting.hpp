// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <moepar/comm/call.hpp>
#include <moepar/comm/collective_error.hpp>
#include <moepar/comm/threads/world_state.hpp>
#include <moepar/core/index.hpp>
#include <mutex>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moepar::detail {

//! What a member shows the others for the time of one call. The pointers are its own memory, read by the others between
//! meet() and part().
struct MeetingSlot {
  Call call{};
  const void* data = nullptr;
  const Index* counts = nullptr;  //!< one number a member, or none
  Index parts = 0;                //!< of a reduction
};

//! Where the members of one group come together for their calls. A call has two halves: in meet() everybody shows its
//! slot and waits until all are there; then each pulls what it needs from the others' memory; in part() everybody waits
//! until all have done so, after which memory is its owner's again. Waits are on one condition variable with a steady
//! deadline.
class Meeting {
 public:
  Meeting(ThreadWorldState& world, std::vector<Index> members)
      : world_{world}, members_{std::move(members)}, slots_(members_.size()), here_(members_.size()) {
    world_.add_bell(mutex_, changed_);
  }

  [[nodiscard]] Index size() const { return static_cast<Index>(members_.size()); }
  [[nodiscard]] Index world_rank(Index position) const { return members_[static_cast<std::size_t>(position)]; }
  [[nodiscard]] const MeetingSlot& slot(Index position) const { return slots_[static_cast<std::size_t>(position)]; }

  //! Throws CollectiveError when somebody does not come, or has come with another call.
  void meet(Index position, const MeetingSlot& slot) {
    const auto until = ThreadWorldState::Clock::now() + world_.deadline();
    const auto own = static_cast<std::size_t>(position);
    std::unique_lock lock{mutex_};
    slots_[own] = slot;
    here_[own] = true;
    if (std::find(here_.begin(), here_.end(), false) == here_.end()) {
      std::fill(here_.begin(), here_.end(), false);
      parted_ = 0;
      ++round_;
      changed_.notify_all();
      return;
    }
    for (const Index round = round_; round_ == round;) {
      const bool late = ThreadWorldState::Clock::now() >= until, gone = !missing(/*who_left=*/true).empty();
      if (!world_.failed() && !gone && !late) {
        changed_.wait_until(lock, until);
        continue;
      }
      const auto suspects = missing(gone);
      here_[own] = false;
      lock.unlock();  // failing rings every bell, this meeting's too
      if (gone)
        world_.fail(
            CollectiveError::Reason::rank_left, suspects,
            list(suspects) + " left, and " + text(slot.call) + " needs " + (suspects.size() == 1 ? "it" : "them"));
      else if (late)
        world_.fail(CollectiveError::Reason::deadline, suspects,
                    list(suspects) + " did not come to " + text(slot.call) + " within " +
                        std::to_string(world_.deadline().count()) + " ms");
      world_.throw_failure(members_[own], slot.call);
    }
  }

  //! Compares what the members showed. All of them see the same and throw the same.
  void require_agreement(Index position) {
    for (Index other = 1; other < size(); ++other)
      if (!slot(other).call.agrees_with(slot(0).call)) disagree(position, 0, other, "");
  }

  //! Every member sees the same disagreement of the members `one` and `other` and throws it.
  [[noreturn]] void disagree(Index position, Index one, Index other, const std::string& detail) {
    world_.fail(CollectiveError::Reason::mismatch, {world_rank(one), world_rank(other)},
                "the members of the group made different calls: rank " + std::to_string(world_rank(one)) + " " +
                    text(slot(one).call) + ", rank " + std::to_string(world_rank(other)) + " " +
                    text(slot(other).call) + detail);
    world_.throw_failure(world_rank(position), slot(position).call);
  }

  //! Returns when every member has done its part of the call. The others are copying, which ends; so this waits beyond
  //! the deadline too: to leave earlier would give back memory that is being read.
  void part() noexcept {
    std::unique_lock lock{mutex_};
    const Index round = round_;
    if (++parted_ == size()) {
      ++parted_rounds_;
      changed_.notify_all();
      return;
    }
    changed_.wait(lock, [&] { return parted_rounds_ >= round; });
  }

 private:
  //! Members that are not here, or only those of them that have left the world. Empty vectors do not allocate, and the
  //! others are on the way to an error.
  [[nodiscard]] std::vector<Index> missing(bool who_left) const {
    std::vector<Index> ranks;
    for (std::size_t i = 0; i < here_.size(); ++i)
      if (!here_[i] && (!who_left || world_.has_left(members_[i]))) ranks.push_back(members_[i]);
    return ranks;
  }

  static std::string list(const std::vector<Index>& ranks) {
    std::string out = ranks.size() == 1 ? "rank " : "ranks ";
    for (std::size_t i = 0; i < ranks.size(); ++i) out += (i == 0 ? "" : ", ") + std::to_string(ranks[i]);
    return out;
  }

  ThreadWorldState& world_;
  std::vector<Index> members_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::vector<MeetingSlot> slots_;
  std::vector<bool> here_;
  Index round_ = 0;          //!< times that everybody was there
  Index parted_rounds_ = 0;  //!< times that everybody was done
  Index parted_ = 0;
};

}  // namespace moepar::detail
