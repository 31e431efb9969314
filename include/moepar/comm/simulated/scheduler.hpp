// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <limits>
#include <memory>
#include <moepar/comm/simulated/fiber.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/index.hpp>
#include <string>
#include <utility>
#include <vector>

namespace moepar::detail {

//! Decides what happens in a simulated world, and when: which of the fibers that could run goes on, and what time it
//! is. Time is a number; it moves on, to the next thing that waits for it, when no fiber can run. All decisions come
//! from the seed, so that one seed always gives the same run.
class Scheduler {
 public:
  static constexpr Index never = std::numeric_limits<Index>::max();

  explicit Scheduler(std::uint64_t seed) : seed_{seed}, random_{mix(seed + 1)} {}

  [[nodiscard]] std::uint64_t seed() const { return seed_; }
  [[nodiscard]] Index now() const { return now_; }  //!< nanoseconds

  //! A hash of all that was decided so far.
  [[nodiscard]] std::uint64_t trace() const { return trace_; }

  //! 0 to bound - 1.
  [[nodiscard]] Index random(Index bound) {
    random_ += 0x9E3779B97F4A7C15;
    return static_cast<Index>(mix(random_) % static_cast<std::uint64_t>(bound));
  }

  //! Runs body(0), ..., body(count - 1), each on a fiber, until all have ended. A body must not throw.
  void run(Index count, std::size_t stack_bytes, const std::function<void(Index)>& body) {
    tasks_.clear();
    ready_.clear();
    events_.clear();
    for (Index i = 0; i < count; ++i) {
      tasks_.push_back({std::make_unique<Fiber>(stack_bytes, [&body, i] { body(i); }), never, true});
      ready_.push_back(i);
    }
    for (Index running = count; running > 0;) {
      while (ready_.empty()) advance();
      std::swap(ready_[static_cast<std::size_t>(random(static_cast<Index>(ready_.size())))], ready_.back());
      current_ = ready_.back();
      ready_.pop_back();
      Task& task = at(current_);
      task.ready = false;
      task.until = never;
      note(current_);
      task.fiber->resume();
      if (task.fiber->ended()) --running;
    }
    tasks_.clear();
  }

  //! Stops the fiber that runs until somebody wakes it or it is `until`, whichever comes first.
  void block(Index until) {
    Task& task = at(current_);
    task.until = until;
    task.fiber->suspend();
  }

  //! Stops the fiber that runs for so long, whoever wakes it.
  void sleep(Index nanoseconds) {
    for (const Index until = now_ + nanoseconds; now_ < until;) block(until);
  }

  void wake(Index fiber) {
    Task& task = at(fiber);
    if (task.ready || task.fiber->ended() || fiber == current_) return;
    task.ready = true;
    ready_.push_back(fiber);
  }
  void wake_all() {
    for (Index i = 0; i < static_cast<Index>(tasks_.size()); ++i) wake(i);
  }

  //! Something that happens later.
  void after(Index nanoseconds, std::function<void()> what) {
    events_.push_back({now_ + nanoseconds, events_ever_++, std::move(what)});
    std::push_heap(events_.begin(), events_.end());
  }

 private:
  struct Task {
    std::unique_ptr<Fiber> fiber;
    Index until;
    bool ready;
  };
  struct Event {
    Index time, number;
    std::function<void()> what;
    bool operator<(const Event& other) const {  // a heap has its largest element on top: the next event
      return time != other.time ? time > other.time : number > other.number;
    }
  };

  Task& at(Index fiber) { return tasks_[static_cast<std::size_t>(fiber)]; }

  void note(Index what) {
    trace_ = mix(mix(trace_ + static_cast<std::uint64_t>(now_)) + static_cast<std::uint64_t>(what));
  }

  //! No fiber can run: time moves to the next event, or to the end of the next wait.
  void advance() {
    current_ = -1;
    Index next = events_.empty() ? never : events_.front().time;
    for (const Task& task : tasks_) next = std::min(next, task.until);
    if (next == never)
      throw Error{
          "moepar: all ranks of a simulated world wait and nothing will wake them, which is a bug in moepar. "
          "Fix: report it with the program and the seed (seed " +
          std::to_string(seed_) + ')'};
    now_ = next;
    if (!events_.empty() && events_.front().time == now_) {
      std::pop_heap(events_.begin(), events_.end());
      const auto what = std::move(events_.back().what);
      events_.pop_back();
      note(-1);
      what();
    }
    for (Index i = 0; i < static_cast<Index>(tasks_.size()); ++i)
      if (at(i).until <= now_) wake(i);
  }

  std::uint64_t seed_, random_, trace_ = 0;
  Index now_ = 0, current_ = -1, events_ever_ = 0;
  std::vector<Task> tasks_;
  std::vector<Index> ready_;
  std::vector<Event> events_;
};

}  // namespace moepar::detail
