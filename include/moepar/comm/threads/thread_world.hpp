// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <exception>
#include <map>
#include <memory>
#include <moepar/comm/threads/meeting.hpp>
#include <moepar/comm/threads/thread_communicator.hpp>
#include <moepar/comm/threads/world_state.hpp>
#include <moepar/core/checks.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/ieee.hpp>
#include <moepar/core/index.hpp>
#include <moepar/topology/group.hpp>
#include <mutex>
#include <string>
#include <thread>
#include <tuple>
#include <utility>
#include <vector>

namespace moepar {

//! A world whose ranks are threads of this process; more ranks than cores are normal. Every blocking call ends within
//! `deadline`: when a rank throws, returns too early or does not come, all others throw CollectiveError.
class ThreadWorld {
 public:
  explicit ThreadWorld(Index size, std::chrono::milliseconds deadline = std::chrono::seconds{30})
      : state_{(check_world_has_ranks(size), size), deadline} {}

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
      return world_.communicator(rank_, axis, group);
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
  //! first rank at fault threw; a rank that only reports another's fault is not that one.
  template <class Body> void run(Body body) {
    std::vector<std::exception_ptr> errors(static_cast<std::size_t>(size()));
    {
      std::vector<std::jthread> threads;
      for (Index rank = 0; rank < size(); ++rank)
        threads.emplace_back([&, rank] {
          auto& error = errors[static_cast<std::size_t>(rank)];
          std::string why = "returned";
          try {
            set_ieee_arithmetic();
            Rank self{*this, rank};
            body(self);
          } catch (const std::exception& thrown) {
            error = std::current_exception();
            why = std::string{"threw '"} + thrown.what() + '\'';
          } catch (...) {
            error = std::current_exception();
            why = "threw";
          }
          state_.leave(rank, why);
        });
    }
    std::exception_ptr first;
    for (const auto& error : errors) {
      if (!error) continue;
      if (!first) first = error;
      try {
        std::rethrow_exception(error);
      } catch (const CollectiveError&) {
      } catch (...) {
        throw;
      }
    }
    if (first) std::rethrow_exception(first);
  }

 private:
  using Key = std::tuple<std::string, Index, Index, Index>;  // axis, first rank, size, stride

  ThreadCommunicator communicator(Index rank, const char* axis, const Group& group) {
    if (group.size < 1 || group.rank < 0 || group.rank >= group.size || group.member(0, rank) < 0 ||
        group.member(group.size - 1, rank) >= size() ||
        group.member(0, rank) + (group.size - 1) * group.stride >= size())
      throw Error{"moepar::ThreadWorld: rank " + std::to_string(rank) + " asked for a group of axis " + axis +
                  " with size " + std::to_string(group.size) + ", rank " + std::to_string(group.rank) + " and stride " +
                  std::to_string(group.stride) + ", which reaches beyond the world of " + std::to_string(size()) +
                  ". Fix: take groups from the Layout of this world."};
    std::vector<Index> members;
    for (Index position = 0; position < group.size; ++position) members.push_back(group.member(position, rank));
    const std::lock_guard lock{mutex_};
    std::vector<detail::Meeting*> pairs;
    for (const Index member : members) {
      const auto [low, high] = std::minmax(rank, member);
      pairs.push_back(low == high ? nullptr : &meeting({std::string{axis} + " pair", low, 2, high - low}, {low, high}));
    }
    const Index first = members.front();
    auto& all = meeting({axis, first, group.size, group.stride}, std::move(members));
    return {state_, axis, group.rank, all, std::move(pairs)};
  }

  detail::Meeting& meeting(const Key& key, std::vector<Index> members) {
    auto& found = meetings_[key];
    if (!found) found = std::make_unique<detail::Meeting>(state_, std::move(members));
    return *found;
  }

  detail::ThreadWorldState state_;
  std::mutex mutex_;
  std::map<Key, std::unique_ptr<detail::Meeting>> meetings_;
};

}  // namespace moepar
