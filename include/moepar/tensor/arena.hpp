// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/tensor/matrix.hpp>
#include <string>

namespace moepar {

//! Memory of a step as a stack: take() from the top, release() back to a mark. It never grows and never frees.
//! Without memory it only counts; the same code then yields the bytes of a step, in a constant expression if need be.
class Arena {
 public:
  static constexpr Index alignment = 64;  //!< bytes: a cache line, an AVX-512 vector

  //! Counts only.
  constexpr Arena() = default;

  //! Uses `capacity` bytes at `memory` (aligned to `alignment`), which the caller owns and keeps alive.
  constexpr Arena(std::byte* memory, Index capacity) : memory_{memory}, capacity_{capacity} {}

  //! rows x columns elements, not initialised. Throws Error when the memory does not suffice.
  template <class Element> constexpr Matrix<Element> take(Index rows, Index columns) {
    const Index begin = detail::ceil_div(used_, alignment) * alignment;
    const Index end = begin + rows * columns * static_cast<Index>(sizeof(Element));
    if (memory_ != nullptr && end > capacity_) refuse(rows, columns, end);
    used_ = end;
    high_water_ = std::max(high_water_, used_);
    return {memory_ == nullptr ? nullptr : reinterpret_cast<Element*>(memory_ + begin), rows, columns};
  }

  [[nodiscard]] constexpr Index mark() const { return used_; }
  //! Bytes of the memory; 0 where it only counts.
  [[nodiscard]] constexpr Index capacity() const { return capacity_; }
  constexpr void release(Index mark) { used_ = mark; }

  //! Most bytes in use at any time so far.
  [[nodiscard]] constexpr Index high_water() const { return high_water_; }

 private:
  [[noreturn]] void refuse(Index rows, Index columns, Index needed) const {
    throw Error{"moepar::Arena: no room for " + std::to_string(rows) + " x " + std::to_string(columns) +
                " elements: the step needs " + std::to_string(needed) + " bytes, the arena has " +
                std::to_string(capacity_) + ". Fix: give the arena what the plan of this batch says."};
  }

  std::byte* memory_ = nullptr;
  Index capacity_ = 0;
  Index used_ = 0;
  Index high_water_ = 0;
};

}  // namespace moepar
