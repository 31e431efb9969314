// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cxxabi.h>
#include <sys/mman.h>
#include <ucontext.h>
#include <unistd.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <functional>
#include <moepar/comm/simulated/sanitizer_fiber.hpp>
#include <moepar/core/error.hpp>
#include <string>
#include <utility>

namespace moepar::detail {

//! Pages for the stack of a fiber, below them one that must not be touched: an overflow ends the program, it does not
//! write into other memory. Pages take memory once they are used.
class FiberStack {
 public:
  explicit FiberStack(std::size_t bytes) {
    const auto page = static_cast<std::size_t>(::sysconf(_SC_PAGESIZE));
    size_ = (bytes + page - 1) / page * page;
    guard_ = page;
    memory_ =
        ::mmap(nullptr, guard_ + size_, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory_ == MAP_FAILED || ::mprotect(memory_, guard_, PROT_NONE) != 0)
      throw Error{"moepar: there is no memory for a stack of " + std::to_string(bytes) +
                  " bytes. Fix: simulate fewer ranks or give them smaller stacks."};
  }
  FiberStack(const FiberStack&) = delete;
  FiberStack& operator=(const FiberStack&) = delete;
  ~FiberStack() { ::munmap(memory_, guard_ + size_); }

  [[nodiscard]] void* begin() const { return static_cast<std::byte*>(memory_) + guard_; }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  void* memory_;
  std::size_t size_, guard_;
};

//! A function with a stack of its own that can stop in the middle and go on later. All fibers of a thread take turns;
//! one is resumed by code that is no fiber. `body` must not throw.
class Fiber {
 public:
  Fiber(std::size_t stack_bytes, std::function<void()> body)
      : stack_{stack_bytes}, body_{std::move(body)}, inner_{stack_.begin(), stack_.size()} {
    ::getcontext(&inner_context_);
    inner_context_.uc_stack.ss_sp = stack_.begin();
    inner_context_.uc_stack.ss_size = stack_.size();
    inner_context_.uc_link = nullptr;
    const auto self = reinterpret_cast<std::uintptr_t>(this);  // makecontext passes on numbers of type int
    ::makecontext(&inner_context_, reinterpret_cast<void (*)()>(&Fiber::main), 2, static_cast<unsigned>(self >> 32),
                  static_cast<unsigned>(self));
  }
  Fiber(const Fiber&) = delete;
  Fiber& operator=(const Fiber&) = delete;

  [[nodiscard]] bool ended() const { return ended_; }

  //! Runs the fiber until it suspends itself or ends. Called from outside.
  void resume() {
    const ExceptionState outside = exchange_exceptions(exceptions_);
    outer_.leave(inner_);
    ::swapcontext(&outer_context_, &inner_context_);
    outer_.enter(inner_);
    exceptions_ = exchange_exceptions(outside);
  }

  //! Returns when the fiber is resumed again. Called from inside.
  void suspend() {
    inner_.leave(outer_);
    ::swapcontext(&inner_context_, &outer_context_);
    inner_.enter(outer_);
  }

 private:
  // What the C++ runtime knows of exceptions in flight belongs to a thread; here each fiber has its own, so that a rank
  // may communicate while it handles an exception. The layout is part of the Itanium ABI.
  struct ExceptionState {
    void* caught = nullptr;
    unsigned uncaught = 0;
  };
  static ExceptionState exchange_exceptions(const ExceptionState& next) {
    auto* globals = reinterpret_cast<unsigned char*>(abi::__cxa_get_globals());
    ExceptionState before;
    std::memcpy(&before.caught, globals, sizeof(before.caught));
    std::memcpy(&before.uncaught, globals + sizeof(before.caught), sizeof(before.uncaught));
    std::memcpy(globals, &next.caught, sizeof(next.caught));
    std::memcpy(globals + sizeof(next.caught), &next.uncaught, sizeof(next.uncaught));
    return before;
  }

  static void main(unsigned high, unsigned low) {
    auto* self = reinterpret_cast<Fiber*>(static_cast<std::uintptr_t>(high) << 32 | low);
    self->inner_.enter(self->outer_);
    self->body_();
    self->ended_ = true;
    self->inner_.leave(self->outer_, true);
    ::setcontext(&self->outer_context_);
  }

  FiberStack stack_;
  std::function<void()> body_;
  bool ended_ = false;
  ExceptionState exceptions_;
  ucontext_t inner_context_{}, outer_context_{};
  SanitizerFiber inner_, outer_;
};

}  // namespace moepar::detail
