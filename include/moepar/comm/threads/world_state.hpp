// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <condition_variable>
#include <moepar/comm/pull/world_record.hpp>
#include <moepar/core/index.hpp>
#include <mutex>
#include <thread>
#include <vector>

namespace moepar::detail {

//! The record of a world of threads. Meetings wait on their own condition variables and register a bell here, which
//! rings when a rank leaves or the world fails.
class ThreadWorldState final : public WorldRecord {
 public:
  ThreadWorldState(Index size, std::chrono::milliseconds deadline)
      : WorldRecord{size, deadline},
        spins_{size <= static_cast<Index>(std::thread::hardware_concurrency()) ? 200 : 0} {}

  //! How often to look again before a wait blocks. Waiting so costs 50 times less than being woken, but only while
  //! every rank has a core to itself: on fewer cores it takes time from those waited for.
  [[nodiscard]] int spins() const { return spins_; }

  //! A meeting to wake when a rank leaves or the world fails. Registered until the world ends.
  void add_bell(std::mutex& mutex, std::condition_variable& changed) {
    const std::lock_guard lock{bells_mutex_};
    bells_.push_back({&mutex, &changed});
  }

 private:
  struct Bell {
    std::mutex* mutex;
    std::condition_variable* changed;
  };

  void wake() override {
    const std::lock_guard lock{bells_mutex_};
    for (const Bell& bell : bells_) {
      {
        const std::lock_guard wait{*bell.mutex};
      }  // whoever is about to wait has seen the news or hears the bell
      bell.changed->notify_all();
    }
  }

  int spins_;
  std::mutex bells_mutex_;
  std::vector<Bell> bells_;
};

}  // namespace moepar::detail
