// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <cstddef>
#include <exception>
#include <moepar/comm/pull/meetings.hpp>
#include <moepar/comm/pull/run_rank.hpp>
#include <moepar/comm/threads/meeting.hpp>
#include <moepar/comm/threads/thread_communicator.hpp>
#include <moepar/comm/threads/world_state.hpp>
#include <moepar/core/checks.hpp>
#include <moepar/core/index.hpp>
#include <moepar/topology/group.hpp>
#include <thread>
#include <vector>

namespace moepar {

//! A world whose ranks are threads of this process; more ranks than cores are normal. Every blocking call ends within
//! `deadline`: when a rank throws, returns too early or does not come, all others throw CollectiveError.
class ThreadWorld {
 public:
  explicit ThreadWorld(Index size, std::chrono::milliseconds deadline = std::chrono::seconds{30})
      : state_{(check_world_has_ranks(size), size), deadline}, meetings_{state_} {
    if (deadline <= std::chrono::milliseconds{0})
      throw Error{"moepar::ThreadWorld: a deadline of " + std::to_string(deadline.count()) +
                  " ms leaves no time to meet. Fix: give at least 1 ms, better seconds."};
  }

  [[nodiscard]] Index size() const { return state_.size(); }

  //! What one thread of the world holds.
  class Rank {
   public:
    Rank(ThreadWorld& world, Index rank) : world_{world}, rank_{rank} {}

    [[nodiscard]] Index rank() const { return rank_; }
    [[nodiscard]] Index world_size() const { return world_.size(); }

    //! The communicator of this rank's group along an axis. axis: a literal that names it in errors and tells groups of
    //! the same ranks apart. Every member makes the same call.
    [[nodiscard]] ThreadCommunicator communicator(const char* axis, const Group& group) {
      return world_.meetings_.communicator(rank_, axis, group);
    }
    //! The whole world.
    [[nodiscard]] ThreadCommunicator communicator() {
      return communicator("world", {.size = world_size(), .rank = rank_, .stride = 1});
    }

   private:
    ThreadWorld& world_;
    Index rank_;
  };

  //! Runs body(Rank&) once on each rank, each on a thread with IEEE arithmetic, and waits for all. Throws what the
  //! first rank at fault threw; a rank that only reports another's fault is not that one. May be called again unless it
  //! threw.
  template <class Body> void run(Body body) {
    state_.start();
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(size()));
    {
      std::vector<std::jthread> threads;
      for (Index rank = 0; rank < size(); ++rank)
        threads.emplace_back([&, rank] {
          Rank self{*this, rank};
          errors[static_cast<std::size_t>(rank)] = detail::run_rank(state_, body, self);
        });
    }
    detail::throw_first_fault(errors);
  }

 private:
  detail::ThreadWorldState state_;
  detail::Meetings<detail::ThreadWorldState, detail::ThreadMeeting> meetings_;
};

}  // namespace moepar
