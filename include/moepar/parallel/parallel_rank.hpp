// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <moepar/core/granule_table.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/device/numerics.hpp>
#include <moepar/nn/bind.hpp>
#include <moepar/parallel/axes.hpp>
#include <moepar/parallel/gradient_schedule.hpp>
#include <moepar/parallel/rank_parameters.hpp>
#include <moepar/tensor/arena.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/tensor/router_totals.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/step_shape.hpp>
#include <span>
#include <vector>

namespace moepar {

//! One rank: its place in a layout, its memory, its device, its communicators. Modules run on it (device/rank.hpp).
//! With a device that counts and without memory it yields the bytes, operations and collectives of whatever runs on it,
//! in a constant expression if need be; with a device that computes and the memory that this says, it does the work.
//! Everything that a layout changes is here and in RankParameters: modules never ask for it.
template <class ElementType, class DeviceType, class CommunicatorType = NoCommunicator>
class ParallelRank : public RankParameters<ElementType, DeviceType, CommunicatorType> {
  using Base = RankParameters<ElementType, DeviceType, CommunicatorType>;

 public:
  using Element = ElementType;

  //! binding: of the model that will run here, for this layout and rank. axes: of a world of more than one rank; they
  //! and device must outlive this object.
  constexpr ParallelRank(const Layout& layout, Index rank, const StepShape& shape, const Binding& binding,
                         DeviceType& device, Axes<CommunicatorType>* axes = nullptr)
      : Base(layout, rank, shape, binding, device, axes), routers_{binding.routers} {
    std::vector<GranuleRange> runs;
    for (Index micro_step = 0; micro_step < shape.micro_steps; ++micro_step) {
      for (const Kind kind : {Kind::dense, Kind::expert}) {
        runs.clear();
        detail::append_runs(runs, this->split(), layout, kind, rank, micro_step);
        tables_.push_back(granule_table(this->tree(), runs));
      }
    }
  }

  //! Starts a micro-step with sequences whose rows begin at begins[0..sequences] (not read by a rank that counts).
  constexpr void begin_micro_step(Index micro_step, const Index* begins) {
    const Index sequences = this->shape().sequences;
    const GranuleTable& table = table_of(micro_step, Kind::dense);
    Base::start(micro_step, {.groups = 1,
                             .granules = sequences,
                             .parts = static_cast<Index>(table.parts.size()),
                             .begins = begins,
                             .merges = table.merges.data()});
    routes_.release(0);
    totals_ = {};
    totals_.layers = routers_.layers;
    totals_.granules = sequences;
    totals_.experts = routers_.experts;
    if (batch_.tokens > 0)
      totals_.z_scale = static_cast<Element>(2 * numerics_.z_loss_coefficient / static_cast<double>(batch_.tokens));
    if (routers_.layers == 0) return;
    totals_.counts = routes_.template take<Index>(routers_.layers * sequences, routers_.experts).data;
    totals_.probabilities = routes_.template take<double>(routers_.layers * sequences, routers_.experts).data;
    totals_.z_losses = routes_.template take<double>(sequences, 1).data;
    totals_.sinkhorn_error = routes_.template take<double>(sequences, 1).data;
    totals_.balance = routes_.template take<Element>(routers_.layers * sequences, routers_.experts).data;
    if constexpr (!Base::counting) {
      std::fill_n(totals_.probabilities, routers_.layers * sequences * routers_.experts, 0.0);
      std::fill_n(totals_.z_losses, sequences, 0.0);
      std::fill_n(totals_.sinkhorn_error, sequences, 0.0);
      std::fill_n(totals_.balance, routers_.layers * sequences * routers_.experts, Element{0});
    }
  }

  //! The granules of this micro-step: this rank's own (dense), or those of its expert group.
  [[nodiscard]] constexpr const GranuleTable& granules(Kind kind) const { return table_of(this->micro_step(), kind); }

  constexpr Arena& routes() { return routes_; }        //!< what stays until the end of a micro-step, recomputed or not
  constexpr Arena& constants() { return constants_; }  //!< what stays
  constexpr RouterTotals<Element>& totals() { return totals_; }
  constexpr Numerics& numerics() { return numerics_; }

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
    RotaryTable table{head_size, constants_.template take<float>(this->shape().length, head_size / 2),
                      constants_.template take<float>(this->shape().length, head_size / 2)};
    if constexpr (!Base::counting)
      this->device().rotary_table(this->shape().length, head_size, numerics_.rotary_theta, table.cosine, table.sine);
    rotary_.push_back(table);
    return table;
  }

  //! Memory of the arenas, owned by the caller.
  struct Memory {
    std::span<std::byte> activations, parameters, routes, constants;
  };
  void use(const Memory& memory) {
    const auto arena = [](std::span<std::byte> bytes) { return Arena{bytes.data(), static_cast<Index>(bytes.size())}; };
    Base::use(arena(memory.activations), arena(memory.parameters));
    routes_ = arena(memory.routes);
    constants_ = arena(memory.constants);
  }

 private:
  [[nodiscard]] constexpr const GranuleTable& table_of(Index micro_step, Kind kind) const {
    return tables_[static_cast<std::size_t>(2 * micro_step + (kind == Kind::expert ? 1 : 0))];
  }

  RouterSizes routers_;
  std::vector<GranuleTable> tables_{};  //!< dense and expert, by micro-step
  Arena routes_{}, constants_{};
  Batch batch_{};
  Numerics numerics_{};
  RouterTotals<Element> totals_{};
  Index not_finite_ = -1;
  bool training_ = true;
  std::vector<RotaryTable> rotary_{};
};

}  // namespace moepar
