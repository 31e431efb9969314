// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <moepar/core/index.hpp>
#include <moepar/nn/path.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/parallel/axes.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/shard.hpp>
#include <string>
#include <utility>
#include <vector>

namespace moepar {

//! One bound parameter with what the model alone does not say: its names, and which of its elements this rank keeps.
struct ListedParameter {
  Parameter parameter{};
  Index all_copies = 1;              //!< of the whole model
  Index first_copy = 0;              //!< the first of this rank's
  std::vector<std::string> names{};  //!< of this rank's copies: Hugging Face names
  Range blocks{};                    //!< kept of this rank's copies, see shard_blocks
  std::vector<Parameter> uses{};     //!< further ones of the same values, see Walk::tied

  //! Calls visit(copy, first, count, kept): `count` elements from `first` on of copy `copy` (of this rank's) are kept,
  //! from place `kept` of what this rank keeps of the parameter on.
  template <class Visit> void for_each_run(Visit visit) const {
    const Index size = parameter.size(), per_copy = block_count(size), begin = elements_before(size, blocks.begin);
    for (Index copy = 0; copy < parameter.copies; ++copy) {
      const Index from = std::max(blocks.begin, copy * per_copy), to = std::min(blocks.end, (copy + 1) * per_copy);
      if (from >= to) continue;
      const Index first = elements_before(size, from), last = elements_before(size, to);
      visit(copy, first - copy * size, last - first, first - begin);
    }
  }
};

//! Calls visit(listed, copy, first, count, kept), as ListedParameter::for_each_run does, for the runs of which `rank`
//! is the first of the replicas that keep them: over a world each element is visited once.
template <class Rank, class Visit>
void for_each_run_once(Rank& rank, const std::vector<ListedParameter>& parameters, Visit visit) {
  for (const ListedParameter& listed : parameters)
    if (rank.held(listed.parameter.placement).replicas.rank == 0)
      listed.for_each_run(
          [&](Index copy, Index first, Index count, Index kept) { visit(listed, copy, first, count, kept); });
}

//! The parameters of a bound model in registration order, as `rank` of `layout` keeps them.
template <class Model>
std::vector<ListedParameter> list_parameters(const Model& model, const Layout& layout, Index rank) {
  std::vector<ListedParameter> list;
  for_each_use(model, [&](const Site& site, const Parameter& parameter) {
    if (site.tied != nullptr) {
      for (ListedParameter& listed : list)
        if (listed.parameter.number == site.tied->number) listed.uses.push_back(parameter);
      return;
    }
    ListedParameter listed{.parameter = parameter, .all_copies = site.copies};
    if (is_expert(parameter.placement)) listed.first_copy = layout.expert_group(rank).rank * parameter.copies;
    for (Index copy = 0; copy < parameter.copies; ++copy) listed.names.push_back(site.name(listed.first_copy + copy));
    const Group group = shards_of(layout, parameter.placement, rank);
    listed.blocks = shard_blocks(parameter.copies, parameter.size(), group.size, group.rank);
    list.push_back(std::move(listed));
  });
  return list;
}

}  // namespace moepar
