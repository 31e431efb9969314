// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <moepar/comm/call.hpp>
#include <moepar/core/index.hpp>

namespace moepar {

//! The groups in which a step communicates. shard, replica: of dense parameters.
enum class Axis { world, shard, replica, expert, expert_shard, expert_replica };
inline constexpr std::size_t axis_count = 6;

constexpr const char* name_of(Axis axis) {
  constexpr const char* names[] = {"world", "shard", "replica", "expert", "expert shard", "expert replica"};
  return names[static_cast<std::size_t>(axis)];
}

//! Collective calls by axis and operation, and the bytes this rank gave to them or, where what it gives depends on the
//! data, those of its own tokens. The same code fills it on a rank that counts and on one that computes, so that a plan
//! can be held against a run.
class Ledger {
 public:
  struct Entry {
    Index calls = 0;
    Index bytes = 0;
    friend constexpr bool operator==(const Entry&, const Entry&) = default;
  };

  constexpr void add(Axis axis, Operation operation, Index bytes) {
    Entry& entry = entries_[index(axis, operation)];
    ++entry.calls;
    entry.bytes += bytes;
  }

  [[nodiscard]] constexpr const Entry& of(Axis axis, Operation operation) const {
    return entries_[index(axis, operation)];
  }
  [[nodiscard]] constexpr Entry of(Axis axis) const {
    Entry sum;
    for (std::size_t i = 0; i < operations_; ++i) {
      sum.calls += entries_[static_cast<std::size_t>(axis) * operations_ + i].calls;
      sum.bytes += entries_[static_cast<std::size_t>(axis) * operations_ + i].bytes;
    }
    return sum;
  }
  [[nodiscard]] constexpr Index calls() const {
    Index sum = 0;
    for (const Entry& entry : entries_) sum += entry.calls;
    return sum;
  }

  friend constexpr bool operator==(const Ledger&, const Ledger&) = default;

 private:
  static constexpr std::size_t operations_ = static_cast<std::size_t>(Operation::send_receive) + 1;
  static constexpr std::size_t index(Axis axis, Operation operation) {
    return static_cast<std::size_t>(axis) * operations_ + static_cast<std::size_t>(operation);
  }
  std::array<Entry, axis_count * operations_> entries_{};
};

}  // namespace moepar
