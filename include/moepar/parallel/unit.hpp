// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <moepar/core/index.hpp>
#include <moepar/nn/bind.hpp>
#include <moepar/nn/path.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/shard.hpp>

namespace moepar {

//! The bound parameters of one module: what is gathered and reduced at once. Of each placement they are one run.
struct Unit {
  struct Run {
    Index parameters = 0;
    Range held{}, whole{};
  };
  std::array<Run, static_cast<std::size_t>(placements)> run{};

  [[nodiscard]] constexpr const Run& operator[](Placement placement) const {
    return run[static_cast<std::size_t>(placement)];
  }
};

template <class Module> constexpr Unit unit_of(const Module& module_, const Layout& layout, Index rank) {
  Unit unit;
  for_each_use(module_, [&](const Site&, const Parameter& parameter) {
    auto& run = unit.run[static_cast<std::size_t>(parameter.placement)];
    if (run.parameters++ == 0)
      run = {.parameters = 1, .held = {parameter.held, parameter.held}, .whole = {parameter.whole, parameter.whole}};
    run.held.end = std::max(run.held.end, parameter.held + held_elements(parameter, layout, rank));
    run.whole.end = std::max(run.whole.end, parameter.whole + parameter.whole_size());
  });
  return unit;
}

}  // namespace moepar
