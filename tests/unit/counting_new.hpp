// SPDX-License-Identifier: Apache-2.0
#pragma once
// Replaces operator new of a whole program by one that counts. Included by one file of a program of its own.
#include <atomic>
#include <cstddef>
#include <cstdlib>
#include <new>

namespace {
std::atomic<long> allocations{0};
std::atomic<std::size_t> largest_allocation{0};  // bytes

void* allocate(std::size_t bytes, std::size_t alignment) {
  ++allocations;
  for (std::size_t largest = largest_allocation; bytes > largest;)
    if (largest_allocation.compare_exchange_weak(largest, bytes)) break;
  void* memory = std::aligned_alloc(alignment, (bytes + alignment) / alignment * alignment);
  if (memory == nullptr) throw std::bad_alloc{};
  return memory;
}
}  // namespace

// Not inlined: g++ 12 would see malloc and free behind them and call new and delete mismatched.
[[gnu::noinline]] void* operator new(std::size_t bytes) { return allocate(bytes, alignof(std::max_align_t)); }
[[gnu::noinline]] void* operator new(std::size_t bytes, std::align_val_t alignment) {
  return allocate(bytes, static_cast<std::size_t>(alignment));
}
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::align_val_t) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t, std::align_val_t) noexcept { std::free(memory); }
