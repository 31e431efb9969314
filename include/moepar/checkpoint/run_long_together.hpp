// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <cstdint>
#include <functional>
#include <future>
#include <moepar/checkpoint/run_together.hpp>
#include <moepar/comm/communicator.hpp>
#include <span>

namespace moepar {

//! Whether `job` has ended on all ranks, after each has waited for its own at most `patience`. A rank without a job has
//! an invalid one.
template <class Communicator>
bool ended_together(Communicator& world, std::future<void>& job, std::chrono::milliseconds patience) {
  std::int64_t busy = job.valid() && job.wait_for(patience) != std::future_status::ready ? 1 : 0;
  if constexpr (communicator<Communicator>) world.maximum(std::span{&busy, 1});
  return busy == 0;
}

//! As run_together, for a body that may take longer than the deadline of a collective: it runs on a thread while the
//! ranks meet every tenth of a second.
template <class Communicator, class Body> void run_long_together(Communicator& world, Body&& body) {
  std::future<void> job;
  run_together(world, [&] { job = std::async(std::launch::async, std::ref(body)); });
  while (!ended_together(world, job, std::chrono::milliseconds{100})) continue;
  run_together(world, [&] { job.get(); });
}

}  // namespace moepar
