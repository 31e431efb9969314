// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/workers.hpp>

namespace moepar::cpu::detail {

//! An item of work touches about this many elements: less is done sooner than a thread wakes up.
inline constexpr Index elements_per_item = 16384;

//! Cuts 0..count-1, each of `elements` elements, into runs and calls body(first, last, worker) for each.
template <class Body> void spread(Workers& workers, Index count, Index elements, const Body& body) {
  const Index run = std::max<Index>(1, elements_per_item / std::max<Index>(1, elements));
  workers.parallel(moepar::detail::ceil_div(count, run),
                   [&](Index item, Index worker) { body(item * run, std::min(count, item * run + run), worker); });
}

}  // namespace moepar::cpu::detail
