// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <condition_variable>
#include <cstddef>
#include <exception>
#include <memory>
#include <moepar/core/error.hpp>
#include <moepar/core/ieee.hpp>
#include <moepar/core/index.hpp>
#include <mutex>
#include <new>
#include <string>
#include <thread>
#include <vector>

namespace moepar::cpu {

//! The threads that compute for one rank: the rank's own and count - 1 helpers, which sleep between calls. Which thread
//! takes which item is left to chance; items are independent, so bits do not depend on it. Each worker has scratch
//! memory of a fixed size, so that kernels allocate nothing.
class Workers {
 public:
  static constexpr Index most = 1024;
  static constexpr Index scratch_bytes = Index{2} << 20;  //!< a worker

  //! Starts count - 1 threads. Throws Error unless count is 1 to `most`.
  explicit Workers(Index count = 1) {
    if (count < 1 || count > most)
      throw Error{"moepar: a rank cannot have " + std::to_string(count) + " worker threads. Fix: ask for 1 to " +
                  std::to_string(most) + "."};
    for (Index worker = 0; worker < count; ++worker)
      scratch_.emplace_back(static_cast<std::byte*>(::operator new(static_cast<std::size_t>(scratch_bytes), aligned_)));
    spins_ = count <= static_cast<Index>(std::thread::hardware_concurrency()) ? 2000 : 0;
    try {
      for (Index worker = 1; worker < count; ++worker) threads_.emplace_back([this, worker] { serve(worker); });
    } catch (const std::exception& error) {
      const std::size_t started = threads_.size() + 1;
      end();  // those that run wait for work, and nothing else would tell them
      throw Error{"moepar: of " + std::to_string(count) + " worker threads of a rank only " + std::to_string(started) +
                  " could start (" + error.what() +
                  "). Fix: ask for fewer workers, or raise the limits on threads and memory."};
    }
  }
  ~Workers() { end(); }
  Workers(const Workers&) = delete;
  Workers& operator=(const Workers&) = delete;

  [[nodiscard]] Index count() const { return static_cast<Index>(scratch_.size()); }

  //! scratch_bytes bytes of `worker`, aligned to 64; free for use inside an item, undefined at its start.
  [[nodiscard]] std::byte* scratch(Index worker) const { return scratch_[static_cast<std::size_t>(worker)].get(); }

  //! Calls body(item, worker) once for every item 0..items-1 and returns when all are done. body must not call
  //! parallel. What an item throws is thrown here; of several, one.
  template <class Body> void parallel(Index items, const Body& body) {
    if (threads_.empty() || items <= 1) {
      for (Index item = 0; item < items; ++item) body(item, Index{0});
      return;
    }
    error_ = nullptr;
    body_ = &body;
    call_ = [](const void* object, Index item, Index worker) { (*static_cast<const Body*>(object))(item, worker); };
    items_ = items;
    next_.store(0);
    busy_.store(static_cast<Index>(threads_.size()));
    {
      const std::lock_guard lock{mutex_};
      round_.fetch_add(1);
    }
    called_.notify_all();
    take_items(0);
    for (int spin = 0; busy_.load() != 0 && spin < spins_; ++spin) pause();
    if (busy_.load() != 0) {
      std::unique_lock lock{mutex_};
      finished_.wait(lock, [this] { return busy_.load() == 0; });
    }
    if (error_) std::rethrow_exception(error_);
  }

 private:
  void end() {
    {
      const std::lock_guard lock{mutex_};
      ending_ = true;
      round_.fetch_add(1);
    }
    called_.notify_all();
    threads_.clear();  // joins
  }

  static constexpr std::align_val_t aligned_{64};
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, aligned_); }
  };

  static void pause() {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
  }

  void take_items(Index worker) {
    for (Index item = next_.fetch_add(1); item < items_; item = next_.fetch_add(1)) {
      try {
        call_(body_, item, worker);
      } catch (...) {
        const std::lock_guard lock{mutex_};
        error_ = std::current_exception();
      }
    }
  }

  void serve(Index worker) {
    set_ieee_arithmetic();
    Index seen = 0;
    for (;;) {
      for (int spin = 0; round_.load() == seen && spin < spins_; ++spin) pause();
      if (round_.load() == seen) {
        std::unique_lock lock{mutex_};
        called_.wait(lock, [&] { return round_.load() != seen; });
      }
      seen = round_.load();
      if (ending_) return;
      take_items(worker);
      if (busy_.fetch_sub(1) == 1) {
        {
          const std::lock_guard lock{mutex_};
        }  // whoever is about to wait has seen busy_ or hears the call
        finished_.notify_one();
      }
    }
  }

  std::vector<std::unique_ptr<std::byte, Free>> scratch_;
  int spins_ = 0;
  std::mutex mutex_;
  std::condition_variable called_, finished_;
  std::atomic<Index> round_{0}, next_{0}, busy_{0};
  std::atomic<bool> ending_{false};
  std::exception_ptr error_;
  const void* body_ = nullptr;
  void (*call_)(const void*, Index, Index) = nullptr;
  Index items_ = 0;
  std::vector<std::jthread> threads_;  // last: they use all above
};

}  // namespace moepar::cpu
