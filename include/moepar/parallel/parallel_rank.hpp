// SPDX-License-Identifier: Apache-2.0
#pragma once
// Length: the one class that holds what a rank is; its parts are in the headers it includes.
#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <moepar/comm/call.hpp>
#include <moepar/comm/ledger.hpp>
#include <moepar/comm/pieces.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/device/numerics.hpp>
#include <moepar/nn/bind.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/parallel/axes.hpp>
#include <moepar/parallel/gradient_schedule.hpp>
#include <moepar/parallel/unit.hpp>
#include <moepar/tensor/arena.hpp>
#include <moepar/tensor/gradient_parts.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/tensor/router_totals.hpp>
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

//! One rank: its place in a layout, its memory, its device, its communicators. Modules run on it (device/rank.hpp).
//! With a device that counts and without memory it yields the bytes, operations and collectives of whatever runs on it,
//! in a constant expression if need be; with a device that computes and the memory that this says, it does the work.
//! Everything that a layout changes is here: modules never ask for it.
template <class ElementType, class DeviceType, class CommunicatorType = NoCommunicator> class ParallelRank {
 public:
  using Element = ElementType;
  using Device = DeviceType;
  using Communicator = CommunicatorType;
  static constexpr bool counting = Device::counting;
  static constexpr bool communicates = !counting && !std::same_as<Communicator, NoCommunicator>;

  constexpr ParallelRank(const Layout& layout, Index rank, const StepShape& shape, const Binding& binding,
                         Device& device, Axes<Communicator>* axes = nullptr)
      : layout_{layout},
        rank_{rank},
        shape_{shape},
        split_{batch_split(layout, shape.sequences, shape.micro_steps)},
        tree_{shape.tree(split_.granules())},
        routers_{binding.routers},
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
    std::vector<GranuleRange> runs;
    for (Index micro_step = 0; micro_step < shape.micro_steps; ++micro_step) {
      for (const Kind kind : {Kind::dense, Kind::expert}) {
        runs.clear();
        detail::append_runs(runs, split_, layout, kind, rank, micro_step);
        tables_.push_back(granule_table(tree_, runs));
      }
    }
  }

  // --- What modules ask for (device/rank.hpp) ---

  constexpr Arena& arena() { return activations_; }
  constexpr Device& device() { return *device_; }
  [[nodiscard]] constexpr const RowGroups& rows() const { return rows_; }

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

  // --- The rows at hand ---

  //! Starts a micro-step with sequences whose rows begin at begins[0..sequences] (not read by a rank that counts).
  constexpr void begin_micro_step(Index micro_step, const Index* begins) {
    micro_step_ = micro_step;
    const GranuleTable& table = granules(Kind::dense);
    rows_ = {.groups = 1,
             .granules = shape_.sequences,
             .parts = static_cast<Index>(table.parts.size()),
             .begins = begins,
             .merges = table.merges.data()};
    routes_.release(0);
    totals_ = {};
    totals_.layers = routers_.layers;
    totals_.granules = shape_.sequences;
    totals_.experts = routers_.experts;
    if (batch_.tokens > 0)
      totals_.z_scale = static_cast<Element>(2 * numerics_.z_loss_coefficient / static_cast<double>(batch_.tokens));
    if (routers_.layers == 0) return;
    totals_.counts = routes_.template take<Index>(routers_.layers * shape_.sequences, routers_.experts).data;
    totals_.probabilities = routes_.template take<double>(shape_.sequences, routers_.experts).data;
    totals_.z_losses = routes_.template take<double>(shape_.sequences, 1).data;
    totals_.sinkhorn_error = routes_.template take<double>(shape_.sequences, 1).data;
    totals_.balance = routes_.template take<Element>(shape_.sequences, routers_.experts).data;
    if constexpr (!counting) {
      std::fill_n(totals_.probabilities, shape_.sequences * routers_.experts, 0.0);
      std::fill_n(totals_.z_losses, shape_.sequences, 0.0);
      std::fill_n(totals_.sinkhorn_error, shape_.sequences, 0.0);
      std::fill_n(totals_.balance, shape_.sequences * routers_.experts, Element{0});
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

  // --- What wrappers, routers and optimizers ask for ---

  [[nodiscard]] constexpr const Layout& layout() const { return layout_; }
  [[nodiscard]] constexpr Index rank() const { return rank_; }
  [[nodiscard]] constexpr const StepShape& shape() const { return shape_; }
  [[nodiscard]] constexpr const BatchSplit& split() const { return split_; }
  [[nodiscard]] constexpr const GranuleTree& tree() const { return tree_; }
  [[nodiscard]] constexpr Index micro_step() const { return micro_step_; }
  constexpr Arena& routes() { return routes_; }  //!< what stays until the end of a micro-step, recomputed or not
  constexpr Arena& parameters() { return parameters_; }  //!< gathered parameters and parts of their gradients
  constexpr Ledger& ledger() { return ledger_; }
  constexpr Numerics& numerics() { return numerics_; }
  constexpr RouterTotals<Element>& totals() { return totals_; }
  [[nodiscard]] Axes<Communicator>& axes() { return *axes_; }
  [[nodiscard]] constexpr HeldParameters<Element>& held(Placement placement) {
    return held_[static_cast<std::size_t>(placement)];
  }
  //! The granules of this micro-step: this rank's own (dense), or those of its expert group.
  [[nodiscard]] constexpr const GranuleTable& granules(Kind kind) const {
    return tables_[static_cast<std::size_t>(2 * micro_step_ + (kind == Kind::expert ? 1 : 0))];
  }
  //! Counts over the whole batch of the step.
  struct Batch {
    Index tokens = 0;
    Index targets = 0;
  };
  [[nodiscard]] constexpr const Batch& batch() const { return batch_; }
  constexpr void set_batch(const Batch& batch) { batch_ = batch; }

  [[nodiscard]] constexpr bool training() const { return training_; }
  constexpr void set_training(bool training) { training_ = training; }

  //! The first norm in a step whose input is not finite, by the number of its weight, times 2; plus 1 when it was met
  //! in backward. -1: none.
  [[nodiscard]] constexpr Index first_not_finite() const { return not_finite_; }
  constexpr void note(const Parameter& parameter, bool finite, bool backward = false) {
    if (!finite && not_finite_ < 0) not_finite_ = 2 * parameter.number + (backward ? 1 : 0);
  }
  constexpr void forget_notes() { not_finite_ = -1; }

  //! Cosines and sines of rotary positions, length x head_size / 2 each, made at the first use and kept.
  struct RotaryTable {
    Index head_size = 0;
    Matrix<float> cosine{}, sine{};
  };
  constexpr RotaryTable rotary(Index head_size) {
    for (const RotaryTable& table : rotary_)
      if (table.head_size == head_size) return table;
    RotaryTable table{head_size, constants_.template take<float>(shape_.length, head_size / 2),
                      constants_.template take<float>(shape_.length, head_size / 2)};
    if constexpr (!counting)
      device_->rotary_table(shape_.length, head_size, numerics_.rotary_theta, table.cosine, table.sine);
    rotary_.push_back(table);
    return table;
  }

  //! Memory of the arenas, owned by the caller.
  struct Memory {
    std::span<std::byte> activations, parameters, routes, constants;
  };
  void use(const Memory& memory) {
    const auto arena = [](std::span<std::byte> bytes) { return Arena{bytes.data(), static_cast<Index>(bytes.size())}; };
    activations_ = arena(memory.activations);
    parameters_ = arena(memory.parameters);
    routes_ = arena(memory.routes);
    constants_ = arena(memory.constants);
  }
  constexpr Arena& constants() { return constants_; }

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

  //! Calls visit(parameter) for those of one placement.
  template <class Module, class Visit>
  static constexpr void for_placement(const Module& module_, Placement placement, Visit visit) {
    for_each_parameter(module_, [&](const Site&, const Parameter& parameter) {
      if (parameter.placement == placement) visit(parameter);
    });
  }

  //! counts_[i * ranks + r]: elements of parameter i that rank r of a shard group holds.
  template <class Module> void count_shards(const Module& module_, Placement placement, Index parameters, Index ranks) {
    counts_.clear();
    counts_.reserve(static_cast<std::size_t>(parameters * ranks));  // so that pointers into it stay
    for_placement(module_, placement, [&](const Parameter& parameter) {
      for (Index position = 0; position < ranks; ++position)
        counts_.push_back(shard_elements(parameter.copies, parameter.size(), ranks, position));
    });
  }

  template <class Module>
  constexpr Element* gather_shards(const Module& module_, Placement placement, const Unit::Run& run) {
    auto& held = held_[static_cast<std::size_t>(placement)];
    Element* memory = parameters_.template take<Element>(1, run.whole.size()).data;
    ledger_.add(shard_axis(placement), Operation::all_gather, run.held.size() * static_cast<Index>(sizeof(Element)));
    if constexpr (communicates) {
      const Index ranks = held.shards.size;
      count_shards(module_, placement, run.parameters, ranks);
      gather_pieces_.clear();
      const Index* counts = counts_.data();
      for_placement(module_, placement, [&](const Parameter& parameter) {
        gather_pieces_.push_back({.own = held.values + parameter.held,
                                  .all = memory + (parameter.whole - run.whole.begin),
                                  .counts = counts});
        counts += ranks;
      });
      axes_->shard_of(placement).all_gather(std::span<const GatherPiece<Element>>{gather_pieces_});
    }
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
        if constexpr (communicates) reduce_shards(module_, placement, run, held, step);
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

  template <class Module>
  void reduce_shards(const Module& module_, Placement placement, const Unit::Run& run, HeldParameters<Element>& held,
                     const MicroStepGradients& step) {
    const Index ranks = held.shards.size;
    count_shards(module_, placement, run.parameters, ranks);
    reduce_pieces_.clear();
    const Index* counts = counts_.data();
    const Gathered& from = gathered_[static_cast<std::size_t>(placement)];
    for_placement(module_, placement, [&](const Parameter& parameter) {
      reduce_pieces_.push_back({.own = from.gradients + (parameter.whole - from.whole.begin),
                                .stride = from.whole.size(),
                                .counts = counts,
                                .sums = held.gradients + step.first_slot * held.size.held + parameter.held,
                                .sum_stride = held.size.held});
      counts += ranks;
    });
    sum_ranges_.resize(step.arriving.size());
    axes_->shard_of(placement).reduce_scatter(tree_, std::span<const GranuleRange>{step.own.parts},
                                              std::span<const ReducePiece<Element>>{reduce_pieces_},
                                              std::span<GranuleRange>{sum_ranges_});
  }

  constexpr void add_replicas(Placement placement, HeldParameters<Element>& held) {
    const Index own = part_of(held.size.held, held.replicas.size, held.replicas.rank).size();
    const auto left = static_cast<Index>(held.schedule.left.size());
    const Index mark = activations_.mark();
    Element* sums = activations_.template take<Element>(1, own).data;
    constexpr auto bytes = static_cast<Index>(sizeof(Element));
    ledger_.add(replica_axis(placement), Operation::reduce_scatter, left * held.size.held * bytes);
    ledger_.add(replica_axis(placement), Operation::all_gather, own * bytes);
    if constexpr (communicates) {
      counts_.clear();
      for (Index position = 0; position < held.replicas.size; ++position)
        counts_.push_back(part_of(held.size.held, held.replicas.size, position).size());
      const ReducePiece<Element> reduced{
          .own = held.gradients, .stride = held.size.held, .counts = counts_.data(), .sums = sums, .sum_stride = own};
      sum_ranges_.resize(1);
      auto& communicator = axes_->replica_of(placement);
      communicator.reduce_scatter(tree_, std::span<const GranuleRange>{held.schedule.left},
                                  std::span<const ReducePiece<Element>>{&reduced, 1},
                                  std::span<GranuleRange>{sum_ranges_});
      const GatherPiece<Element> copied{.own = sums, .all = held.gradients, .counts = counts_.data()};
      communicator.all_gather(std::span<const GatherPiece<Element>>{&copied, 1});
    }
    activations_.release(mark);
  }

  Layout layout_;
  Index rank_;
  StepShape shape_;
  BatchSplit split_;
  GranuleTree tree_;
  RouterSizes routers_;
  Device* device_;
  Axes<Communicator>* axes_;
  // By placement. A vector, since nvcc forgets to destroy the elements of an array in constant expressions.
  std::vector<HeldParameters<Element>> held_ =
      std::vector<HeldParameters<Element>>(static_cast<std::size_t>(placements));
  std::vector<GranuleTable> tables_{};  //!< dense and expert, by micro-step
  Arena activations_{}, parameters_{}, routes_{}, constants_{};
  Ledger ledger_{};
  Batch batch_{};
  Numerics numerics_{};
  RowGroups rows_{};
  RouterTotals<Element> totals_{};
  Index micro_step_ = 0, expert_part_ = 0, not_finite_ = -1;
  bool training_ = true;
  std::array<Gathered, static_cast<std::size_t>(placements)> gathered_{};
  std::vector<RotaryTable> rotary_{};
  std::vector<Index> counts_{};
  std::vector<GatherPiece<Element>> gather_pieces_{};
  std::vector<ReducePiece<Element>> reduce_pieces_{};
  std::vector<GranuleRange> sum_ranges_{};
};

}  // namespace moepar
