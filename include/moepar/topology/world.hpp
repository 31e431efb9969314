// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <concepts>
#include <moepar/core/index.hpp>
#include <moepar/topology/layout.hpp>

namespace moepar {

//! The ranks of a job and the order of its axes. A size below 1 is refused where the world is used.
template <Index Size, ExpertAxis Axis = ExpertAxis::innermost> struct World {
  static constexpr Index size = Size;
  static constexpr ExpertAxis expert_axis = Axis;
};

//! Whether W may stand where a World is asked for.
template <class W>
concept world = requires {
  { W::size } -> std::convertible_to<Index>;
  { W::expert_axis } -> std::convertible_to<ExpertAxis>;
};

template <class W> consteval bool require_world() {
  static_assert(world<W>,
                "moepar::Deployment: the second argument is the world. Fix: write Deployment<Model, World<Size>>.");
  return world<W>;
}

}  // namespace moepar
