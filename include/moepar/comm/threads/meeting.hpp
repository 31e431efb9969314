// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <moepar/comm/pull/meeting_board.hpp>
#include <moepar/comm/threads/world_state.hpp>
#include <moepar/core/index.hpp>
#include <mutex>
#include <utility>
#include <vector>

namespace moepar::detail {

//! Where the threads of one group come together for their calls. A call has two halves: in meet() everybody shows its
//! slot and waits until all are there; then each pulls what it needs from the others' memory; in part() everybody waits
//! until all have done so, after which memory is its owner's again. Both are counters of all arrivals ever; who waits
//! looks a few times and then blocks on one condition variable, with a steady deadline.
class ThreadMeeting : public MeetingBoard {
 public:
  ThreadMeeting(ThreadWorldState& world, std::vector<Index> members)
      : MeetingBoard{world, std::move(members)}, spins_{world.spins()} {
    world.add_bell(mutex_, changed_);
  }

  //! Throws CollectiveError when somebody does not come.
  void meet(Index position, const MeetingSlot& slot) {
    const Index round = came(position) + 1, all = round * size();
    show(position, slot);
    set_came(position, round);
    arrive(here_, all);
    if (spun(here_, all)) return;

    const auto until = std::chrono::steady_clock::now() + world().deadline();
    std::unique_lock lock{mutex_};
    const Sleeper sleeper{sleepers_};
    while (here_.load() < all) {
      const bool failed = world().failed(), left = somebody_left(round);
      const bool late = std::chrono::steady_clock::now() >= until;
      if (!failed && !left && !late) {
        changed_.wait_until(lock, until);
        continue;
      }
      lock.unlock();  // failing rings every bell, this meeting's too
      if (failed || fail_missing(round, left, slot.call)) {
        if (!withdraw(all))
          return;  // the last one came meanwhile: the others go on, so this one
                   // must
        set_came(position, round - 1);
        world().throw_failure(world_rank(position), slot.call);
      }
      lock.lock();
    }
  }

  //! Returns when every member has done its part of the call. The others are copying, which ends; so this waits beyond
  //! the deadline too: to leave earlier would give back memory that is being read.
  void part(Index position) noexcept {
    const Index all = came(position) * size();
    arrive(done_, all);
    if (spun(done_, all)) return;
    std::unique_lock lock{mutex_};
    const Sleeper sleeper{sleepers_};
    changed_.wait(lock, [&] { return done_.load() >= all; });
  }

 private:
  // A sleeper counts itself before it looks at the counter for the last time, and the last to arrive looks for sleepers
  // after it has counted: one of the two sees the other.
  struct Sleeper {
    explicit Sleeper(std::atomic<int>& counter) : count{counter} { ++count; }
    ~Sleeper() { --count; }
    Sleeper(const Sleeper&) = delete;
    Sleeper& operator=(const Sleeper&) = delete;
    std::atomic<int>& count;
  };

  void arrive(std::atomic<Index>& counter, Index all) noexcept {
    if (counter.fetch_add(1) + 1 != all || sleepers_.load() == 0) return;
    { const std::lock_guard lock{mutex_}; }  // whoever is about to wait has seen the counter or hears the bell
    changed_.notify_all();
  }

  [[nodiscard]] bool spun(const std::atomic<Index>& counter, Index all) const noexcept {
    for (int spin = 0; counter.load(std::memory_order_acquire) < all; ++spin) {
      if (spin >= spins_) return false;
#if defined(__x86_64__) || defined(__i386__)
      __builtin_ia32_pause();
#endif
    }
    return true;
  }

  //! Takes back an arrival, unless all have come: then their round takes place and this member must be in it.
  [[nodiscard]] bool withdraw(Index all) noexcept {
    Index here = here_.load();
    while (here < all)
      if (here_.compare_exchange_weak(here, here - 1)) return true;
    return false;
  }

  int spins_;
  alignas(64) std::atomic<Index> here_{0};  //!< arrivals
  alignas(64) std::atomic<Index> done_{0};  //!< partings
  std::atomic<int> sleepers_{0};
  std::mutex mutex_;
  std::condition_variable changed_;
};

}  // namespace moepar::detail
