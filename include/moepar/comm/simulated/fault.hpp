// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <moepar/core/hash.hpp>
#include <moepar/core/index.hpp>

namespace moepar {

//! Something that goes wrong in a simulated world.
struct SimulatedFault {
  enum class Kind {
    kill,   //!< the rank ends instead of making the call, as if it had thrown
    stall,  //!< the rank comes to the call long after the deadline
    drop,   //!< the rank comes, but the others never hear of it
  };
  Kind kind = Kind::kill;
  Index rank = 0;  //!< in the world
  Index call = 1;  //!< the rank's how-manieth call, on all its communicators together, from 1
};

//! A fault of a random kind at a random one of the first `calls` calls of a random rank.
[[nodiscard]] constexpr SimulatedFault random_fault(std::uint64_t seed, Index world_size, Index calls) {
  const auto draw = [&](std::uint64_t what, Index bound) {
    return static_cast<Index>(mix(mix(seed + 1) + what) % static_cast<std::uint64_t>(bound));
  };
  return {static_cast<SimulatedFault::Kind>(draw(1, 3)), draw(2, world_size), 1 + draw(3, calls)};
}

}  // namespace moepar
