// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <moepar/comm/pull/world_record.hpp>
#include <moepar/comm/simulated/fault.hpp>
#include <moepar/comm/simulated/scheduler.hpp>
#include <moepar/core/index.hpp>
#include <string>
#include <utility>
#include <vector>

namespace moepar {

//! How a simulated world behaves. Times are virtual: none of them takes time.
struct SimulatedOptions {
  std::vector<SimulatedFault> faults{};
  std::chrono::milliseconds deadline = std::chrono::seconds{30};
  //! Before each of a rank's steps, and until the others learn of it, passes a random time of at most this.
  std::chrono::nanoseconds longest_delay = std::chrono::milliseconds{1};
  std::size_t stack_bytes = std::size_t{256} << 10;  //!< of each rank
};

namespace detail {

//! The record of a simulated world.
class SimulatedWorldState final : public WorldRecord {
 public:
  SimulatedWorldState(Index size, std::uint64_t seed, SimulatedOptions options)
      : WorldRecord{size, options.deadline},
        options_{std::move(options)},
        scheduler_{seed},
        calls_(static_cast<std::size_t>(size)) {
    note_ = suffix();
  }

  [[nodiscard]] const SimulatedOptions& options() const { return options_; }
  [[nodiscard]] Scheduler& scheduler() { return scheduler_; }
  [[nodiscard]] const Scheduler& scheduler() const { return scheduler_; }
  [[nodiscard]] std::string suffix() const { return " (seed " + std::to_string(scheduler_.seed()) + ')'; }

  //! Counts a call of the rank and returns the fault that is to happen at it, or none.
  const SimulatedFault* next_call(Index rank) {
    const Index call = ++calls_[static_cast<std::size_t>(rank)];
    for (const SimulatedFault& fault : options_.faults)
      if (fault.rank == rank && fault.call == call) return &fault;
    return nullptr;
  }

  [[nodiscard]] Index random_delay() {
    // Mostly short, so that ranks often come close to one another.
    const Index longest = options_.longest_delay.count() + 1;
    return scheduler_.random(scheduler_.random(2) == 0 ? longest : longest / 16 + 1);
  }

 private:
  void wake() override { scheduler_.wake_all(); }

  SimulatedOptions options_;
  Scheduler scheduler_;
  std::vector<Index> calls_;
};

}  // namespace detail
}  // namespace moepar
