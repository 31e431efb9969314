// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <chrono>
#include <memory>
#include <moepar/comm/call.hpp>
#include <moepar/comm/collective_error.hpp>
#include <moepar/core/index.hpp>
#include <mutex>
#include <optional>
#include <string>
#include <utility>
#include <vector>

namespace moepar::detail {

class MeetingBoard;

//! What the ranks of one world know of one another: where each is, and the first failure. A transport derives from it
//! and wakes its waiting ranks when there is news.
class WorldRecord {
 public:
  WorldRecord(Index size, std::chrono::milliseconds deadline)
      : ranks_(static_cast<std::size_t>(size)), deadline_{deadline} {}
  WorldRecord(const WorldRecord&) = delete;
  WorldRecord& operator=(const WorldRecord&) = delete;

  [[nodiscard]] Index size() const { return static_cast<Index>(ranks_.size()); }
  [[nodiscard]] std::chrono::milliseconds deadline() const { return deadline_; }

  //! All ranks begin, perhaps not for the first time.
  void start() {
    for (Rank& it : ranks_) {
      const std::lock_guard lock{it.mutex};
      it.left.clear();
      it.has_left.store(false);
    }
  }

  void began(Index rank, const Call& call, const MeetingBoard& where) {
    Rank& it = at(rank);
    const std::lock_guard lock{it.mutex};
    it.current = call;
    it.where = &where;
  }
  void completed(Index rank) {
    Rank& it = at(rank);
    const std::lock_guard lock{it.mutex};
    it.last = std::exchange(it.current, Call{});
    it.where = nullptr;
  }

  //! The rank takes part in nothing any more. why: "returned" or "threw '...'".
  void leave(Index rank, const std::string& why) {
    {
      Rank& it = at(rank);
      const std::lock_guard lock{it.mutex};
      it.left = why;
      it.current = {};
      it.where = nullptr;
      it.has_left.store(true);
    }
    wake();
  }

  [[nodiscard]] bool has_left(Index rank) const { return at(rank).has_left.load(); }
  [[nodiscard]] bool failed() const { return failed_.load(); }

  //! The meeting of the call that the rank is in, or none.
  [[nodiscard]] const MeetingBoard* where(Index rank) const {
    const Rank& it = at(rank);
    const std::lock_guard lock{it.mutex};
    return it.where;
  }

  //! Records the first failure of the world and wakes everybody; a later one changes nothing.
  void fail(CollectiveError::Reason reason, std::vector<Index> suspects, const std::string& sentence) {
    {
      const std::lock_guard lock{failure_mutex_};
      if (failure_) return;
      std::string text = sentence;
      for (const Index suspect : suspects) text += "; " + whereabouts(suspect);
      failure_ = Failure{reason, std::move(suspects), text + note_};
      failed_.store(true);
    }
    wake();
  }

  //! Throws the failure as `rank` sees it from `call`.
  [[noreturn]] void throw_failure(Index rank, const Call& call) const {
    const std::lock_guard lock{failure_mutex_};
    throw CollectiveError{failure_->reason,
                          "moepar: rank " + std::to_string(rank) + " gave up " + text(call) + ": " + failure_->sentence,
                          call, failure_->suspects};
  }

 protected:
  ~WorldRecord() = default;

  //! Makes every rank that waits look around.
  virtual void wake() = 0;

  std::string note_;  //!< ends every failure

 private:
  struct alignas(64) Rank {  // a cache line of its own: it is written twice a call
    mutable std::mutex mutex;
    Call last{}, current{};
    const MeetingBoard* where = nullptr;
    std::string left;  //!< empty: still there
    std::atomic<bool> has_left{false};
  };
  struct Failure {
    CollectiveError::Reason reason;
    std::vector<Index> suspects;
    std::string sentence;
  };

  Rank& at(Index rank) { return ranks_[static_cast<std::size_t>(rank)]; }
  [[nodiscard]] const Rank& at(Index rank) const { return ranks_[static_cast<std::size_t>(rank)]; }

  [[nodiscard]] std::string whereabouts(Index rank) const {
    const Rank& it = at(rank);
    const std::lock_guard lock{it.mutex};
    std::string out = "rank " + std::to_string(rank);
    if (!it.left.empty())
      out += ' ' + it.left;
    else if (it.current.operation != Operation::none)
      out += " is in " + text(it.current);
    else
      out += " is outside of any call";
    return out + ", last completed: " + text(it.last);
  }

  std::vector<Rank> ranks_;
  mutable std::mutex failure_mutex_;
  std::optional<Failure> failure_;
  std::atomic<bool> failed_{false};
  std::chrono::milliseconds deadline_;
};

}  // namespace moepar::detail
