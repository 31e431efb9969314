// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <memory>
#include <moepar/core/index.hpp>
#include <new>
#include <type_traits>

namespace moepar {

//! Memory for the time of one call, kept from call to call and only grown, so that a call that has been made before
//! allocates nothing. Begins at a cache line.
class Scratch {
 public:
  //! Room for `count` elements, of any value.
  template <class T> [[nodiscard]] T* room_for(Index count) {
    static_assert(std::is_trivially_copyable_v<T> && alignof(T) <= alignment);
    const auto bytes = static_cast<std::size_t>(count) * sizeof(T);
    if (bytes > size_) {
      memory_.reset();  // before the new one is there: both together need not fit
      size_ = 0;
      memory_.reset(::operator new(bytes, std::align_val_t{alignment}));
      size_ = bytes;
    }
    return static_cast<T*>(memory_.get());
  }

 private:
  static constexpr std::size_t alignment = 64;
  struct Free {
    void operator()(void* memory) const noexcept { ::operator delete(memory, std::align_val_t{alignment}); }
  };
  std::unique_ptr<void, Free> memory_;
  std::size_t size_ = 0;
};

}  // namespace moepar
