// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <moepar/comm/collective_error.hpp>
#include <moepar/comm/pull/meetings.hpp>
#include <moepar/comm/pull/pull_communicator.hpp>
#include <moepar/comm/pull/run_rank.hpp>
#include <moepar/comm/simulated/meeting.hpp>
#include <moepar/comm/simulated/world_state.hpp>
#include <moepar/core/checks.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/topology/group.hpp>
#include <typeinfo>
#include <utility>
#include <vector>

namespace moepar {

//! A communicator whose ranks are simulated.
using SimulatedCommunicator = PullCommunicator<detail::SimulatedMeeting>;

//! A world whose ranks take turns in the calling thread, for tests: who goes on, when the others learn of it, what goes
//! wrong and what time it is all follow from a seed, so that a failure can be replayed. Same use as ThreadWorld. What
//! run() throws ends with "(seed N)" if it is a moepar::Error; for others ask seed().
class SimulatedWorld {
 public:
  explicit SimulatedWorld(Index size, std::uint64_t seed, SimulatedOptions options = {})
      : state_{(check_world_has_ranks(size), size), seed, std::move(options)}, meetings_{state_} {}

  [[nodiscard]] Index size() const { return state_.size(); }
  [[nodiscard]] std::uint64_t seed() const { return state_.scheduler().seed(); }

  //! Equal for two runs in which the same things happened at the same times.
  [[nodiscard]] std::uint64_t trace() const { return state_.scheduler().trace(); }

  //! The time that has passed in this world.
  [[nodiscard]] std::chrono::nanoseconds now() const { return std::chrono::nanoseconds{state_.scheduler().now()}; }

  //! What one rank of the world holds.
  class Rank {
   public:
    Rank(SimulatedWorld& world, Index rank) : world_{world}, rank_{rank} {}

    [[nodiscard]] Index rank() const { return rank_; }
    [[nodiscard]] Index world_size() const { return world_.size(); }

    //! The communicator of this rank's group along an axis. axis: a literal that names it in errors and tells groups of
    //! the same ranks apart. Every member makes the same call.
    [[nodiscard]] SimulatedCommunicator communicator(const char* axis, const Group& group) {
      return world_.meetings_.communicator(rank_, axis, group);
    }
    //! The whole world.
    [[nodiscard]] SimulatedCommunicator communicator() {
      return communicator("world", {.size = world_size(), .rank = rank_, .stride = 1});
    }

    //! Computes for so long, while others go on.
    void sleep(std::chrono::nanoseconds time) { world_.state_.scheduler().sleep(time.count()); }

   private:
    SimulatedWorld& world_;
    Index rank_;
  };

  //! Runs body(Rank&) once on each rank and returns when all have ended. Throws what the first rank at fault threw; a
  //! rank that only reports another's fault is not that one. May be called again unless it threw.
  template <class Body> void run(Body body) {
    state_.start();
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(size()));
    state_.scheduler().run(size(), state_.options().stack_bytes, [&](Index rank) {
      Rank self{*this, rank};
      errors[static_cast<std::size_t>(rank)] = detail::run_rank(state_, body, self);
    });
    try {
      detail::throw_first_fault(errors);
    } catch (const Error& error) {
      if (typeid(error) != typeid(Error)) throw;  // a CollectiveError has the seed, of others the type matters more
      throw Error{error.what() + state_.suffix(), error.where()};
    }
  }

 private:
  detail::SimulatedWorldState state_;
  detail::Meetings<detail::SimulatedWorldState, detail::SimulatedMeeting> meetings_;
};

}  // namespace moepar
