// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <moepar/comm/call.hpp>
#include <moepar/comm/ledger.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_table.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/nn/bind.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/parallel/axes.hpp>
#include <moepar/parallel/gradient_schedule.hpp>
#include <moepar/parallel/shard_calls.hpp>
#include <moepar/parallel/unit.hpp>
#include <moepar/tensor/arena.hpp>
#include <moepar/tensor/gradient_parts.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/tensor/row_groups.hpp>
#include <moepar/topology/batch_split.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/shard.hpp>
#include <moepar/topology/step_shape.hpp>
#include <span>
#include <vector>

namespace moepar {

//! What a rank keeps of one placement, between steps: `held` values, and as many gradients in each slot.
template <class Element> struct HeldParameters {
  Element* values = nullptr;
  Element* gradients = nullptr;
  PlacementSize size{};
  GradientSchedule schedule{};
  Group shards{.size = 1, .rank = 0, .stride = 1};
  Group replicas{.size = 1, .rank = 0, .stride = 1};
};

//! The half of a rank that knows where parameters and gradients are: it gathers parameters before use and frees them
//! after, and adds gradients into what it keeps, by the tree over the batch. The other half is ParallelRank.
template <class ElementType, class DeviceType, class CommunicatorType> class RankParameters {
 public:
  using Element = ElementType;
  using Device = DeviceType;
  using Communicator = CommunicatorType;
  static constexpr bool counting = Device::counting;
  static constexpr bool communicates = !counting && !std::same_as<Communicator, NoCommunicator>;

  constexpr RankParameters(const Layout& layout, Index rank, const StepShape& shape, const Binding& binding,
                           Device& device, Axes<Communicator>* axes)
      : layout_{layout},
        rank_{rank},
        shape_{shape},
        split_{batch_split(layout, shape.sequences, shape.micro_steps)},
        tree_{shape.tree(split_.granules())},
        device_{&device},
        axes_{axes} {
    for (Index i = 0; i < placements; ++i) {
      const auto placement = static_cast<Placement>(i);
      auto& held = held_[static_cast<std::size_t>(i)];
      held.size = binding.size[static_cast<std::size_t>(i)];
      if (held.size.whole == 0) continue;
      held.shards = shards_of(layout, placement, rank);
      held.replicas = replicas_of(layout, placement, rank);
      held.schedule = gradient_schedule(tree_, split_, layout, rank, placement, shape.receive_rows != 0);
    }
  }

  [[nodiscard]] constexpr const Layout& layout() const { return layout_; }
  [[nodiscard]] constexpr Index rank() const { return rank_; }
  [[nodiscard]] constexpr const StepShape& shape() const { return shape_; }
  [[nodiscard]] constexpr const BatchSplit& split() const { return split_; }
  [[nodiscard]] constexpr const GranuleTree& tree() const { return tree_; }
  [[nodiscard]] constexpr Index micro_step() const { return micro_step_; }
  constexpr Device& device() { return *device_; }
  [[nodiscard]] Axes<Communicator>& axes() { return *axes_; }
  constexpr Ledger& ledger() { return ledger_; }
  constexpr Arena& arena() { return activations_; }      //!< what forward keeps for backward, and scratch
  constexpr Arena& parameters() { return parameters_; }  //!< gathered parameters and parts of their gradients
  [[nodiscard]] constexpr const RowGroups& rows() const { return rows_; }
  [[nodiscard]] constexpr HeldParameters<Element>& held(Placement placement) {
    return held_[static_cast<std::size_t>(placement)];
  }

  //! Values of a parameter, whole: those that this rank keeps, or what was gathered (with_parameters).
  constexpr Matrix<const Element> weights(const Parameter& parameter) const {
    const Index rows = parameter.copies * parameter.rows;
    if constexpr (counting) return {nullptr, rows, parameter.columns};
    require_bound(parameter);
    if (!is_sharded(parameter.placement)) return {held(parameter).values + parameter.held, rows, parameter.columns};
    const Gathered& found = gathered(parameter);
    return {found.values + (parameter.whole - found.whole.begin), rows, parameter.columns};
  }

  //! Where the gradient of a parameter goes, inside with_gradients.
  constexpr GradientParts<Element> gradient(const Parameter& parameter) const {
    GradientParts<Element> parts{.data = nullptr,
                                 .rows = parameter.copies * parameter.rows,
                                 .columns = parameter.columns,
                                 .parts = rows_.parts,
                                 .stride = held(parameter).size.held};
    if constexpr (counting) return parts;
    require_bound(parameter);
    const Gathered& found = gathered(parameter);
    if (!found.with_gradients)
      throw Error{
          "moepar: the gradient of a parameter was asked for outside of with_gradients. Fix: run backward inside "
          "rank.with_gradients(layer, ...)."};
    if (is_sharded(parameter.placement)) {
      parts.stride = found.whole.size();
      parts.data = found.gradients + (parameter.whole - found.whole.begin);
    } else {
      parts.data = held(parameter).gradients + first_slot(parameter.placement) * parts.stride + parameter.held;
    }
    if (is_expert(parameter.placement)) parts.data += expert_part_ * parts.stride;
    return parts;
  }

  // --- Gather before use, free after; reduce what backward leaves ---

  //! Runs body() while the parameters of `module_` are whole on this rank.
  template <class Module, class Body> constexpr void with_parameters(const Module& module_, Body body) {
    const Unit unit = unit_of(module_, layout_, rank_);
    const Index mark = parameters_.mark();
    const auto outside = gathered_;
    gather(module_, unit, false);
    body();
    gathered_ = outside;
    parameters_.release(mark);
  }

  //! The same, and the gradients that body() leaves for the parameters of `module_` are added into this rank's share.
  //! Every parameter goes through this once in a micro-step.
  template <class Module, class Body> constexpr void with_gradients(const Module& module_, Body body) {
    const Unit unit = unit_of(module_, layout_, rank_);
    if (has_gradients(unit)) {  // a module around this one adds them
      body();
      return;
    }
    const Index mark = parameters_.mark();
    const auto outside = gathered_;
    gather(module_, unit, true);
    body();
    reduce(module_, unit);
    gathered_ = outside;
    parameters_.release(mark);
  }

  //! After the last micro-step: adds over the replicas. Then gradients(placement) are those of the whole batch.
  constexpr void finish_gradients() {
    for (Index i = 0; i < placements; ++i) {
      auto& held = held_[static_cast<std::size_t>(i)];
      if (held.size.whole == 0 || held.replicas.size == 1) continue;
      add_replicas(static_cast<Placement>(i), held);
    }
  }

  //! Adds part `from` of the gradients of `experts` to part `to`, between the passes of a backward pass.
  template <class Module> void merge_expert_parts(const Module& experts, Index to, Index from) {
    const Unit unit = unit_of(experts, layout_, rank_);
    for (const auto placement : {Placement::expert, Placement::expert_shard}) {
      const auto& run = unit[placement];
      if (run.parameters == 0) continue;
      Element* first;
      Index stride, count;
      if (is_sharded(placement)) {
        const Gathered& found = gathered_[static_cast<std::size_t>(placement)];
        first = found.gradients + (run.whole.begin - found.whole.begin);
        stride = found.whole.size();
        count = run.whole.size();
      } else {
        const auto& held = held_[static_cast<std::size_t>(placement)];
        stride = held.size.held;
        first = held.gradients + first_slot(placement) * stride + run.held.begin;
        count = run.held.size();
      }
      if constexpr (!counting)
        device_->add_onto(Matrix<Element>{first + to * stride, 1, count},
                          Matrix<const Element>{first + from * stride, 1, count});
    }
  }

  //! Runs body() with other rows at hand: those of experts. part: the slot of the first sum of their gradients.
  template <class Body> constexpr void with_rows(const RowGroups& rows, Index part, Body body) {
    const RowGroups outside = rows_;
    const Index outside_part = expert_part_;
    rows_ = rows;
    expert_part_ = part;
    body();
    rows_ = outside;
    expert_part_ = outside_part;
  }

  //! Forgets what an error may have left half-way: nothing is gathered, arenas are empty.
  constexpr void reset() {
    activations_.release(0);
    parameters_.release(0);
    gathered_ = {};
    expert_part_ = 0;
  }

 protected:
  constexpr void use(const Arena& activations, const Arena& parameters) {
    activations_ = activations;
    parameters_ = parameters;
  }
  constexpr void start(Index micro_step, const RowGroups& rows) {
    micro_step_ = micro_step;
    rows_ = rows;
  }

 private:
  //! The parameters of one placement that are whole at the moment.
  struct Gathered {
    Range whole{}, held{};
    Element* values = nullptr;
    Element* gradients = nullptr;
    bool with_gradients = false;
  };

  static void require_bound(const Parameter& parameter) {
    if (parameter.number < 0)
      throw Error{"moepar: a parameter is not one of the bound model. Fix: use the model that the rank was made with."};
  }
  [[nodiscard]] constexpr const HeldParameters<Element>& held(const Parameter& parameter) const {
    return held_[static_cast<std::size_t>(parameter.placement)];
  }
  [[nodiscard]] const Gathered& gathered(const Parameter& parameter) const {
    const Gathered& found = gathered_[static_cast<std::size_t>(parameter.placement)];
    const bool sharded = is_sharded(parameter.placement);
    const Range& range = sharded ? found.whole : found.held;
    const Index at = sharded ? parameter.whole : parameter.held;
    if (at < range.begin || at >= range.end)
      throw Error{
          "moepar: a parameter was used while it is not gathered. Fix: use it inside rank.with_parameters(layer, ...) "
          "or with_gradients."};
    return found;
  }
  [[nodiscard]] constexpr const MicroStepGradients& gradients_of(Placement placement) const {
    return held_[static_cast<std::size_t>(placement)].schedule.micro_steps[static_cast<std::size_t>(micro_step_)];
  }
  [[nodiscard]] constexpr Index first_slot(Placement placement) const { return gradients_of(placement).first_slot; }

  [[nodiscard]] constexpr bool has_gradients(const Unit& unit) const {
    for (std::size_t i = 0; i < gathered_.size(); ++i) {
      const Gathered& at = gathered_[i];
      const auto& run = unit.run[i];
      const bool covered = run.whole.begin >= at.whole.begin && run.whole.end <= at.whole.end;
      if (run.parameters > 0 && !(covered && at.with_gradients)) return false;
    }
    return true;
  }

  template <class Module> constexpr void gather(const Module& module_, const Unit& unit, bool with_gradients) {
    for (Index i = 0; i < placements; ++i) {
      const auto placement = static_cast<Placement>(i);
      const auto& run = unit[placement];
      if (run.parameters == 0) continue;
      Gathered& at = gathered_[static_cast<std::size_t>(i)];
      const bool whole_already = run.whole.begin >= at.whole.begin && run.whole.end <= at.whole.end;
      if (whole_already && !with_gradients) continue;
      Gathered now{.whole = run.whole,
                   .held = run.held,
                   .values = nullptr,
                   .gradients = nullptr,
                   .with_gradients = with_gradients};
      if (is_sharded(placement)) {
        if (whole_already)
          now.values = at.values + (run.whole.begin - at.whole.begin);
        else
          now.values = gather_shards(module_, placement, run);
        if (with_gradients) {
          const auto& own = gradients_of(placement).own;
          const bool bounded = is_expert(placement) && shape_.receive_rows != 0;
          const Index parts = bounded ? own.most_waiting : static_cast<Index>(own.parts.size());
          now.gradients = parameters_.template take<Element>(parts, run.whole.size()).data;
        }
      }
      at = now;
    }
  }

  template <class Module>
  constexpr Element* gather_shards(const Module& module_, Placement placement, const Unit::Run& run) {
    auto& held = held_[static_cast<std::size_t>(placement)];
    Element* memory = parameters_.template take<Element>(1, run.whole.size()).data;
    ledger_.add(shard_axis(placement), Operation::all_gather, run.held.size() * static_cast<Index>(sizeof(Element)));
    if constexpr (communicates)
      calls_.gather(axes_->shard_of(placement), module_, placement, held.values, memory, run.whole.begin);
    return memory;
  }

  template <class Module> constexpr void reduce(const Module& module_, const Unit& unit) {
    for (Index i = 0; i < placements; ++i) {
      const auto placement = static_cast<Placement>(i);
      const auto& run = unit[placement];
      if (run.parameters == 0) continue;
      auto& held = held_[static_cast<std::size_t>(i)];
      const MicroStepGradients& step = gradients_of(placement);
      if (is_sharded(placement)) {
        ledger_.add(shard_axis(placement), Operation::reduce_scatter,
                    static_cast<Index>(step.own.parts.size()) * run.whole.size() * static_cast<Index>(sizeof(Element)));
        if constexpr (communicates) {
          const Gathered& from = gathered_[static_cast<std::size_t>(i)];
          calls_.reduce(axes_->shard_of(placement), tree_, module_, placement, step.own.parts, from.gradients,
                        from.whole, held.gradients + step.first_slot * held.size.held, held.size.held,
                        step.arriving.size());
        }
      }
      if constexpr (!counting) {
        for (const SlotMove& move : step.moves) {
          const auto slot = [&](Index index) {
            return Matrix<Element>{held.gradients + index * held.size.held + run.held.begin, 1, run.held.size()};
          };
          if (move.adds)
            device_->add_onto(slot(move.to), slot(move.from));
          else
            device_->copy(slot(move.from), slot(move.to));
        }
      }
    }
  }

  constexpr void add_replicas(Placement placement, HeldParameters<Element>& held) {
    const Index own = part_of(held.size.held, held.replicas.size, held.replicas.rank).size();
    const auto left = static_cast<Index>(held.schedule.left.size());
    const Index mark = activations_.mark();
    Element* sums = activations_.template take<Element>(1, own).data;
    constexpr auto bytes = static_cast<Index>(sizeof(Element));
    ledger_.add(replica_axis(placement), Operation::reduce_scatter, left * held.size.held * bytes);
    ledger_.add(replica_axis(placement), Operation::all_gather, own * bytes);
    if constexpr (communicates)
      calls_.add_replicas(axes_->replica_of(placement), tree_, held.schedule.left, held.gradients, held.size.held,
                          sums);
    activations_.release(mark);
  }

  Layout layout_;
  Index rank_;
  StepShape shape_;
  BatchSplit split_;
  GranuleTree tree_;
  Device* device_;
  Axes<Communicator>* axes_;
  // By placement. A vector, since nvcc forgets to destroy the elements of an array in constant expressions.
  std::vector<HeldParameters<Element>> held_ =
      std::vector<HeldParameters<Element>>(static_cast<std::size_t>(placements));
  std::array<Gathered, static_cast<std::size_t>(placements)> gathered_{};
  Arena activations_{}, parameters_{};
  Ledger ledger_{};
  RowGroups rows_{};
  Index micro_step_ = 0, expert_part_ = 0;
  ShardCalls<Element> calls_{};
};

}  // namespace moepar
