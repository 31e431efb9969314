// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <exception>
#include <moepar/comm/collective_error.hpp>
#include <moepar/comm/communicator.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <optional>
#include <span>
#include <string>

// What one rank alone may fail at (a file, a folder, memory) must end on all of them, or the others wait for it in the
// next collective until its deadline.
namespace moepar {

//! Throws Error on every rank when some rank brings a failure, with the text of the lowest such rank, of which 1 KiB
//! arrive: "rank 2: ...". world: a communicator of all ranks, or NoCommunicator. One meeting when nobody failed.
template <class Communicator> void throw_together(Communicator& world, const std::optional<std::string>& failure) {
  if constexpr (!communicator<Communicator>) {
    if (failure) throw Error{*failure};
  } else {
    std::int64_t first = failure ? world.size() - world.rank() : 0;
    world.maximum(std::span{&first, 1});
    if (first == 0) return;
    constexpr std::size_t most = 1024;
    std::array<std::int64_t, 1 + most / sizeof(std::int64_t)> words{};  // length, then text
    const Index rank = world.size() - first;
    if (rank == world.rank()) {
      const std::size_t length = std::min(failure->size(), most);
      words[0] = static_cast<std::int64_t>(length);
      std::memcpy(&words[1], failure->data(), length);
    }
    world.broadcast(rank, std::span<std::int64_t>{words});
    std::string text(static_cast<std::size_t>(words[0]), '\0');
    std::memcpy(text.data(), &words[1], text.size());
    throw Error{"rank " + std::to_string(rank) + ": " + text};
  }
}

//! Runs body() on each rank, and throws Error on all of them when it threw on some (see throw_together). The body must
//! not meet other ranks; where it does, a CollectiveError passes through, for the world is at its end then.
template <class Communicator, class Body> void run_together(Communicator& world, Body&& body) {
  std::optional<std::string> failure;
  try {
    body();
  } catch (const CollectiveError&) {
    throw;
  } catch (const std::exception& error) {
    failure = error.what();
  }
  throw_together(world, failure);
}

}  // namespace moepar
