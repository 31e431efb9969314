// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <exception>
#include <moepar/comm/collective_error.hpp>
#include <moepar/comm/pull/world_record.hpp>
#include <moepar/core/ieee.hpp>
#include <string>
#include <vector>

namespace moepar::detail {

//! Runs the body of a rank with IEEE arithmetic and tells the world how it ended. Returns what it threw.
template <class Body, class Rank> std::exception_ptr run_rank(WorldRecord& world, Body& body, Rank& rank) noexcept {
  std::exception_ptr error;
  std::string why = "returned";
  try {
    set_ieee_arithmetic();
    body(rank);
  } catch (const std::exception& thrown) {
    error = std::current_exception();
    why = std::string{"threw '"} + thrown.what() + '\'';
  } catch (...) {
    error = std::current_exception();
    why = "threw";
  }
  world.leave(rank.rank(), why);
  return error;
}

//! Throws what the first rank at fault threw, if any did; a rank that only reports another's fault is not that one.
inline void throw_first_fault(const std::vector<std::exception_ptr>& errors) {
  std::exception_ptr first;
  for (const auto& error : errors) {
    if (!error) continue;
    if (!first) first = error;
    try {
      std::rethrow_exception(error);
    } catch (const CollectiveError&) {
    } catch (...) {
      throw;
    }
  }
  if (first) std::rethrow_exception(first);
}

}  // namespace moepar::detail
