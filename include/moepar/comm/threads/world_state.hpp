// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <moepar/comm/call.hpp>
#include <moepar/comm/collective_error.hpp>
#include <moepar/core/index.hpp>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace moepar::detail {

//! What the threads of one world know of one another: where each rank is, and the first failure. Meetings wait on their
//! own condition variables and register a bell here, which rings when a rank leaves or the world fails.
class ThreadWorldState {
 public:
  using Clock = std::chrono::steady_clock;

  ThreadWorldState(Index size, std::chrono::milliseconds deadline)
      : ranks_(static_cast<std::size_t>(size)), deadline_{deadline} {}

  [[nodiscard]] Index size() const { return static_cast<Index>(ranks_.size()); }
  [[nodiscard]] std::chrono::milliseconds deadline() const { return deadline_; }

  void began(Index rank, const Call& call) {
    const std::lock_guard lock{mutex_};
    at(rank).current = call;
  }
  void completed(Index rank) {
    const std::lock_guard lock{mutex_};
    at(rank).last = std::exchange(at(rank).current, Call{});
  }

  //! The rank takes part in nothing any more. why: "returned" or "threw '...'".
  void leave(Index rank, const std::string& why) {
    {
      const std::lock_guard lock{mutex_};
      at(rank).left = why;
      at(rank).current = {};
    }
    ring();
  }

  [[nodiscard]] bool has_left(Index rank) const {
    const std::lock_guard lock{mutex_};
    return !ranks_[static_cast<std::size_t>(rank)].left.empty();
  }

  [[nodiscard]] bool failed() const { return failed_.load(); }

  //! Records the first failure of the world and wakes everybody; a later one changes nothing.
  void fail(CollectiveError::Reason reason, std::vector<Index> suspects, const std::string& sentence) {
    {
      const std::lock_guard lock{mutex_};
      if (failure_) return;
      std::string text = sentence;
      for (const Index suspect : suspects) text += "; " + whereabouts(suspect);
      failure_ = Failure{reason, std::move(suspects), text};
      failed_.store(true);
    }
    ring();
  }

  //! Throws the failure as `rank` sees it from `call`.
  [[noreturn]] void throw_failure(Index rank, const Call& call) const {
    const std::lock_guard lock{mutex_};
    throw CollectiveError{failure_->reason,
                          "moepar: rank " + std::to_string(rank) + " gave up " + text(call) + ": " + failure_->sentence,
                          call, failure_->suspects};
  }

  //! A meeting to wake when a rank leaves or the world fails. Registered until the world ends.
  void add_bell(std::mutex& mutex, std::condition_variable& changed) {
    const std::lock_guard lock{bells_mutex_};
    bells_.push_back({&mutex, &changed});
  }

 private:
  struct Rank {
    Call last{}, current{};
    std::string left;  //!< empty: still there
  };
  struct Bell {
    std::mutex* mutex;
    std::condition_variable* changed;
  };
  struct Failure {
    CollectiveError::Reason reason;
    std::vector<Index> suspects;
    std::string sentence;
  };

  Rank& at(Index rank) { return ranks_[static_cast<std::size_t>(rank)]; }

  [[nodiscard]] std::string whereabouts(Index rank) const {
    const Rank& it = ranks_[static_cast<std::size_t>(rank)];
    std::string out = "rank " + std::to_string(rank);
    if (!it.left.empty())
      out += ' ' + it.left;
    else if (it.current.operation != Operation::none)
      out += " is in " + text(it.current);
    else
      out += " is outside of any call";
    return out + ", last completed: " + text(it.last);
  }

  void ring() {
    const std::lock_guard lock{bells_mutex_};
    for (const Bell& bell : bells_) {
      {
        const std::lock_guard wait{*bell.mutex};
      }  // whoever is about to wait has seen the news or hears the bell
      bell.changed->notify_all();
    }
  }

  mutable std::mutex mutex_;
  std::vector<Rank> ranks_;
  std::optional<Failure> failure_;
  std::atomic<bool> failed_{false};
  std::mutex bells_mutex_;
  std::vector<Bell> bells_;
  std::chrono::milliseconds deadline_;
};

}  // namespace moepar::detail
