// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <memory>
#include <moepar/core/index.hpp>
#include <moepar/device/numerics.hpp>
#include <moepar/kernels/cpu/cpu_device.hpp>
#include <moepar/nn/bind.hpp>
#include <moepar/parallel/arena_bytes.hpp>
#include <moepar/parallel/axes.hpp>
#include <moepar/parallel/parallel_rank.hpp>
#include <moepar/tensor/arena.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/step_shape.hpp>
#include <new>
#include <span>
#include <utility>
#include <vector>

namespace moepar {

//! Memory aligned as arenas want it.
class HostMemory {
 public:
  HostMemory() = default;
  explicit HostMemory(Index bytes)
      : bytes_{static_cast<std::byte*>(::operator new(size(bytes), alignment_))}, size_{size(bytes)} {}
  [[nodiscard]] std::span<std::byte> span() const { return {bytes_.get(), size_}; }

 private:
  static constexpr std::align_val_t alignment_{Arena::alignment};
  static std::size_t size(Index bytes) { return static_cast<std::size_t>(std::max<Index>(bytes, 1)); }
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, alignment_); }
  };
  std::unique_ptr<std::byte, Free> bytes_;
  std::size_t size_ = 0;
};

namespace detail {

//! What a rank points to, made before it.
template <class Communicator> struct HostParts {
  HostParts(Index workers, Axes<Communicator> axes) : own_device{workers}, own_axes{std::move(axes)} {}
  CpuDevice own_device;
  Axes<Communicator> own_axes;
};

}  // namespace detail

//! A rank on the CPU that owns its memory: parameters, gradients and arenas. Communicator: NoCommunicator where the
//! world is one rank that meets nobody.
template <class Element, class Communicator = NoCommunicator>
class HostRank : private detail::HostParts<Communicator>, public ParallelRank<Element, CpuDevice, Communicator> {
  using Parts = detail::HostParts<Communicator>;
  using Base = ParallelRank<Element, CpuDevice, Communicator>;

 public:
  //! binding: of the model that will run here (bind_parameters for this layout and rank). Parameters start at zero.
  HostRank(const Layout& layout, Index rank, const StepShape& shape, const Binding& binding, const ArenaBytes& bytes,
           Axes<Communicator> axes = {}, Index workers = 1, const Numerics& numerics = {})
      : Parts(workers, std::move(axes)),
        Base(layout, rank, shape, binding, this->own_device, &this->own_axes),
        arenas_{HostMemory{bytes.activations}, HostMemory{bytes.parameters}, HostMemory{bytes.routes},
                HostMemory{bytes.constants}} {
    Base::numerics() = numerics;
    Base::use({arenas_[0].span(), arenas_[1].span(), arenas_[2].span(), arenas_[3].span()});
    for (Index i = 0; i < placements; ++i) {
      auto& held = Base::held(static_cast<Placement>(i));
      auto& storage = storage_[static_cast<std::size_t>(i)];
      const Index elements = held.size.held * (1 + held.schedule.slots);
      storage = HostMemory{elements * static_cast<Index>(sizeof(Element))};
      held.values = reinterpret_cast<Element*>(storage.span().data());
      held.gradients = held.values + held.size.held;
      std::fill_n(held.values, elements, Element{0});
    }
  }
  HostRank(const HostRank&) = delete;
  HostRank& operator=(const HostRank&) = delete;

  //! Values that this rank keeps of a parameter: its shard, or all of its copies. For whoever sets or saves them.
  std::span<Element> kept(const Parameter& parameter) {
    return {Base::held(parameter.placement).values + parameter.held,
            static_cast<std::size_t>(held_elements(parameter, Base::layout(), Base::rank()))};
  }
  //! The sum of their gradients over the whole batch, after finish_gradients.
  std::span<Element> kept_gradient(const Parameter& parameter) {
    return {Base::held(parameter.placement).gradients + parameter.held,
            static_cast<std::size_t>(held_elements(parameter, Base::layout(), Base::rank()))};
  }

 private:
  std::array<HostMemory, 4> arenas_;
  std::array<HostMemory, static_cast<std::size_t>(placements)> storage_;
};

}  // namespace moepar
