// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>

#if defined(__has_feature)
#if __has_feature(address_sanitizer)
#define MOEPAR_ADDRESS_SANITIZER 1
#endif
#if __has_feature(thread_sanitizer)
#define MOEPAR_THREAD_SANITIZER 1
#endif
#endif
#if defined(__SANITIZE_ADDRESS__)
#define MOEPAR_ADDRESS_SANITIZER 1
#endif
#if defined(__SANITIZE_THREAD__)
#define MOEPAR_THREAD_SANITIZER 1
#endif
#if defined(MOEPAR_ADDRESS_SANITIZER)
#include <sanitizer/asan_interface.h>
#include <sanitizer/common_interface_defs.h>
#endif
#if defined(MOEPAR_THREAD_SANITIZER)
#include <sanitizer/tsan_interface.h>
#endif

namespace moepar::detail {

//! What a sanitizer must be told of one of the two sides between which a fiber switches: the fiber, or who resumes it.
class SanitizerFiber {
 public:
  //! A side that runs on a stack of its own, or (no arguments) the side that runs now.
  SanitizerFiber() = default;
  SanitizerFiber(const void* stack, std::size_t bytes) : stack_{stack}, bytes_{bytes} {
#if defined(MOEPAR_THREAD_SANITIZER)
    thread_ = __tsan_create_fiber(0);
    owned_ = true;
#endif
  }
  SanitizerFiber(const SanitizerFiber&) = delete;
  SanitizerFiber& operator=(const SanitizerFiber&) = delete;
  ~SanitizerFiber() {
#if defined(MOEPAR_THREAD_SANITIZER)
    if (owned_) __tsan_destroy_fiber(thread_);
#endif
#if defined(MOEPAR_ADDRESS_SANITIZER)
    if (owned_) __asan_unpoison_memory_region(stack_, bytes_);  // other memory will lie there
#endif
  }

  //! On this side, right before the switch to `other`; the last time that this side runs: `forever`.
  void leave([[maybe_unused]] SanitizerFiber& other, [[maybe_unused]] bool forever = false) {
#if defined(MOEPAR_ADDRESS_SANITIZER)
    __sanitizer_start_switch_fiber(forever ? nullptr : &fake_stack_, other.stack_, other.bytes_);
#endif
#if defined(MOEPAR_THREAD_SANITIZER)
    if (!owned_) thread_ = __tsan_get_current_fiber();
    __tsan_switch_to_fiber(other.thread_, 0);
#endif
  }

  //! On this side, right after the switch from `other`.
  void enter([[maybe_unused]] SanitizerFiber& other) {
#if defined(MOEPAR_ADDRESS_SANITIZER)
    __sanitizer_finish_switch_fiber(fake_stack_, &other.stack_, &other.bytes_);
#endif
  }

 private:
  [[maybe_unused]] const void* stack_ = nullptr;
  [[maybe_unused]] std::size_t bytes_ = 0;
  [[maybe_unused]] void* fake_stack_ = nullptr;
  [[maybe_unused]] void* thread_ = nullptr;
  [[maybe_unused]] bool owned_ = false;
};

}  // namespace moepar::detail
