// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <map>
#include <memory>
#include <moepar/comm/pull/pull_communicator.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/topology/group.hpp>
#include <mutex>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

namespace moepar::detail {

//! The meetings of a world, each made when the first member asks for it.
template <class World, class Meeting> class Meetings {
 public:
  explicit Meetings(World& world) : world_{world} {}

  //! What world rank `rank` calls the others of its group with.
  PullCommunicator<Meeting> communicator(Index rank, const char* axis, const Group& group) {
    const Index first = group.member(0, rank), last = first + (group.size - 1) * group.stride;
    if (group.size < 1 || group.rank < 0 || group.rank >= group.size || first < 0 || last < 0 ||
        std::max(first, last) >= world_.size() || (group.size > 1 && group.stride < 1))
      throw Error{"moepar: rank " + std::to_string(rank) + " asked for a group of axis " + axis + " with size " +
                  std::to_string(group.size) + ", rank " + std::to_string(group.rank) + " and stride " +
                  std::to_string(group.stride) + ", which reaches beyond the world of " +
                  std::to_string(world_.size()) + ". Fix: take groups from the Layout of this world."};
    std::vector<Index> members;
    for (Index position = 0; position < group.size; ++position) members.push_back(group.member(position, rank));
    const std::lock_guard lock{mutex_};
    std::vector<Meeting*> pairs;
    for (const Index member : members) {
      const auto [low, high] = std::minmax(rank, member);
      pairs.push_back(low == high ? nullptr : &meeting({std::string{axis} + " pair", low, 2, high - low}, {low, high}));
    }
    Meeting& all = meeting({axis, first, group.size, group.stride}, std::move(members));
    return {axis, group.rank, all, std::move(pairs)};
  }

 private:
  using Key = std::tuple<std::string, Index, Index,
                         Index>;  // axis, first rank, size, stride

  Meeting& meeting(const Key& key, std::vector<Index> members) {
    auto& found = meetings_[key];
    if (!found) found = std::make_unique<Meeting>(world_, std::move(members));
    return *found;
  }

  World& world_;
  std::mutex mutex_;
  std::map<Key, std::unique_ptr<Meeting>> meetings_;
};

}  // namespace moepar::detail
