// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <moepar/core/granule_table.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/part_stack.hpp>
#include <moepar/nn/bind.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/topology/batch_split.hpp>
#include <moepar/topology/layout.hpp>
#include <vector>

namespace moepar {

//! A rank keeps the gradient of a placement in slots, each as large as what it holds of the parameters. A move adds one
//! slot to another or copies it there.
struct SlotMove {
  bool adds = false;
  Index to = 0;
  Index from = 0;
};

//! What happens to the gradients of one placement in one micro-step: kernels leave sums over `own.parts`; a reduction
//! over the shard group turns them into sums over `arriving`, which go to the slots from `first_slot` on; then the
//! moves are made, which add what can be added by now.
struct MicroStepGradients {
  GranuleTable own{};
  std::vector<GranuleRange> arriving{};
  std::vector<SlotMove> moves{};
  Index first_slot = 0;
};

//! The same for a step. After the last micro-step slots 0, 1, ... hold the sums over `left`; the replicas add theirs.
struct GradientSchedule {
  std::vector<MicroStepGradients> micro_steps{};
  std::vector<GranuleRange> left{};
  Index slots = 1;
};

namespace detail {

//! The granules whose rows the experts of `rank` see: those of its expert group. For dense parameters its own.
constexpr void append_runs(std::vector<GranuleRange>& runs, const BatchSplit& split, const Layout& layout, Kind kind,
                           Index rank, Index micro_step) {
  if (kind == Kind::dense) {
    runs.push_back(split.granules_of(rank, micro_step));
    return;
  }
  const Group group = layout.expert_group(rank);
  for (Index member = 0; member < group.size; ++member)
    runs.push_back(split.granules_of(group.member(member, rank), micro_step));
}

struct RecordMove {
  std::vector<SlotMove>* moves;
  constexpr void operator()(Index& left, Index right) const { moves->push_back({true, left, right}); }
};

}  // namespace detail

//! bounded: experts may have to work in several passes, whose sums wait in slots of their own.
constexpr GradientSchedule gradient_schedule(const GranuleTree& tree, const BatchSplit& split, const Layout& layout,
                                             Index rank, Placement placement, bool bounded) {
  const Kind kind = kind_of(placement);
  const Group group = is_sharded(placement) ? layout.shard_group(kind, rank) : Group{.size = 1, .rank = 0, .stride = 1};
  GradientSchedule schedule;
  std::vector<SlotMove> moves;
  PartStack<Index, detail::RecordMove> stack{tree, {&moves}};
  for (Index micro_step = 0; micro_step < split.micro_steps; ++micro_step) {
    MicroStepGradients step;
    std::vector<GranuleRange> runs;
    detail::append_runs(runs, split, layout, kind, rank, micro_step);
    step.own = granule_table(tree, runs);
    step.arriving = step.own.parts;
    if (group.size > 1) {
      runs.clear();
      for (Index member = 0; member < group.size; ++member)
        detail::append_runs(runs, split, layout, kind, group.member(member, rank), micro_step);
      step.arriving = parts_of_runs(tree, runs);
    }
    step.first_slot = static_cast<Index>(stack.parts().size());
    const Index waiting = bounded && group.size == 1 && kind == Kind::expert ? step.own.most_waiting
                                                                             : static_cast<Index>(step.arriving.size());
    schedule.slots = std::max(schedule.slots, step.first_slot + waiting);
    moves.clear();
    Index from = step.first_slot;
    for (const GranuleRange& part : step.arriving) {
      const Index to = static_cast<Index>(stack.parts().size());
      if (to != from) moves.push_back({false, to, from});
      stack.push(part, to);
      ++from;
    }
    step.moves = moves;
    schedule.micro_steps.push_back(step);
  }
  for (const auto& part : stack.parts()) schedule.left.push_back(part.granules);
  return schedule;
}

}  // namespace moepar
