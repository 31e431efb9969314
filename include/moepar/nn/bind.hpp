// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <moepar/core/index.hpp>
#include <moepar/nn/path.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/shard.hpp>

namespace moepar {

//! Elements of one placement on one rank.
struct PlacementSize {
  Index held = 0;   //!< kept between steps
  Index whole = 0;  //!< of the same parameters when gathered
};

//! The routers of a model: what a rank keeps of a micro-step depends on them.
struct RouterSizes {
  Index layers = 0;
  Index experts = 0;  //!< of the layer that has most
};

//! Where the parameters of a model lie on one rank.
struct Binding {
  Index parameters = 0;
  RouterSizes routers{};
  std::array<PlacementSize, static_cast<std::size_t>(placements)> size{};
};

constexpr Placement placement_of(Kind kind, bool sharded) {
  if (kind == Kind::dense) return sharded ? Placement::dense_shard : Placement::dense;
  return sharded ? Placement::expert_shard : Placement::expert;
}
constexpr Kind kind_of(Placement placement) { return is_expert(placement) ? Kind::expert : Kind::dense; }

//! Elements of a bound parameter that `rank` keeps.
constexpr Index held_elements(const Parameter& parameter, const Layout& layout, Index rank) {
  if (!is_sharded(parameter.placement)) return parameter.whole_size();
  const Group group = layout.shard_group(kind_of(parameter.placement), rank);
  return shard_elements(parameter.copies, parameter.size(), group.size, group.rank);
}

//! Gives each parameter of `module_` its place on `rank`: its number, its copies, and its offsets among the parameters
//! of its placement. The default is a world of one rank.
template <class Module> constexpr Binding bind_parameters(Module& module_, const Layout& layout = {}, Index rank = 0) {
  Binding binding;
  for_each_use(module_, [&](const Site& site, Parameter& parameter) {
    parameter.number = binding.parameters++;
    binding.routers.layers = std::max(binding.routers.layers, site.routed_layer);
    if (site.routed_layer > 0) binding.routers.experts = std::max(binding.routers.experts, site.copies);
    parameter.copies = site.kind == Kind::expert ? site.copies / layout.expert : site.copies;
    parameter.placement = placement_of(site.kind, site.sharded && layout.shard_degree(site.kind) > 1);
    PlacementSize& size = binding.size[static_cast<std::size_t>(parameter.placement)];
    parameter.held = size.held;
    parameter.whole = size.whole;
    size.held += held_elements(parameter, layout, rank);
    size.whole += parameter.whole_size();
  });
  return binding;
}

}  // namespace moepar
