// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <cstddef>
#include <moepar/comm/pull/meeting_board.hpp>
#include <moepar/comm/simulated/fault.hpp>
#include <moepar/comm/simulated/scheduler.hpp>
#include <moepar/comm/simulated/world_state.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <string>
#include <utility>
#include <vector>

namespace moepar::detail {

//! Where the fibers of one group come together for their calls: as ThreadMeeting, but each rank takes its time, and the
//! others learn of its arrival and parting some time later, or never.
class SimulatedMeeting : public MeetingBoard {
 public:
  SimulatedMeeting(SimulatedWorldState& world, std::vector<Index> members)
      : MeetingBoard{world, std::move(members)}, state_{world}, expected_(static_cast<std::size_t>(size())) {}

  //! Throws CollectiveError when somebody does not come, and Error when this rank is to be killed.
  void meet(Index position, const MeetingSlot& slot) {
    Scheduler& scheduler = state_.scheduler();
    const SimulatedFault* fault = state_.next_call(world_rank(position));
    if (fault != nullptr && fault->kind == SimulatedFault::Kind::kill)
      throw Error{"moepar: the simulation ended rank " + std::to_string(world_rank(position)) + " before " +
                  text(slot.call) + ". Fix: this is the fault that was asked for."};
    const Index deadline = std::chrono::nanoseconds{world().deadline()}.count();
    if (fault != nullptr && fault->kind == SimulatedFault::Kind::stall) scheduler.sleep(2 * deadline);
    scheduler.sleep(state_.random_delay());

    const Index round = came(position) + 1;
    show(position, slot);
    expected_[static_cast<std::size_t>(position)] = round;
    if (fault == nullptr || fault->kind != SimulatedFault::Kind::drop)
      scheduler.after(state_.random_delay(), [this, position, round] { arrived(position, round); });
    for (const Index until = scheduler.now() + deadline; complete_ < round; scheduler.block(until)) {
      const bool failed = world().failed(), left = somebody_left(round), late = scheduler.now() >= until;
      if (failed || ((left || late) && fail_missing(round, left, slot.call))) {
        expected_[static_cast<std::size_t>(position)] = 0;
        set_came(position, round - 1);
        world().throw_failure(world_rank(position), slot.call);
      }
    }
    scheduler.sleep(state_.random_delay());  // others may be done with their part before this one begins
  }

  //! Returns when every member has done its part of the call.
  void part(Index position) noexcept {
    Scheduler& scheduler = state_.scheduler();
    const Index all = came(position) * size();
    scheduler.sleep(state_.random_delay());
    scheduler.after(state_.random_delay(), [this] {
      ++parted_;
      wake_members();
    });
    while (parted_ < all) scheduler.block(Scheduler::never);
  }

 private:
  void arrived(Index position, Index round) {
    if (expected_[static_cast<std::size_t>(position)] != round) return;  // it has given up
    set_came(position, round);
    for (Index i = 0; i < size(); ++i)
      if (came(i) < round) return;
    complete_ = round;
    wake_members();
  }

  void wake_members() {
    for (Index i = 0; i < size(); ++i) state_.scheduler().wake(world_rank(i));
  }

  SimulatedWorldState& state_;
  std::vector<Index> expected_;  //!< the round that a member waits for
  Index complete_ = 0, parted_ = 0;
};

}  // namespace moepar::detail
