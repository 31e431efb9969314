// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <moepar/core/index.hpp>
#include <moepar/device/numerics.hpp>
#include <moepar/nn/bind.hpp>
#include <moepar/parallel/host_rank.hpp>
#include <moepar/topology/step_shape.hpp>
#include <vector>

namespace moepar {

//! A world of one rank on the CPU: enough to use a module alone, or to check its gradients. Starts at micro-step 0 with
//! full sequences. ElementType float or double.
//!
//!   mp::SingleRank<float> rank{module, shape, mp::cost_of_pass<Module>(mp::Layout{}, 0, shape).arenas};
//!   rank.with_parameters(module, [&] { module.forward(rank, in, out, record); });
//!   rank.with_gradients(module, [&] { module.backward(rank, out_gradient, in_gradient, record); });
template <class ElementType> class SingleRank : public HostRank<ElementType> {
  using Base = HostRank<ElementType>;

 public:
  //! Binds the parameters of `model` to this rank; their values are zero until set through kept().
  template <class Model>
  SingleRank(Model& model, const StepShape& shape, const ArenaBytes& bytes, Index workers = 1,
             const Numerics& numerics = {})
      : SingleRank{bind_parameters(model), shape, bytes, workers, numerics} {}
  //! Without a model: for a router or a dispatcher alone. binding.routers says for how many layers and experts.
  SingleRank(const Binding& binding, const StepShape& shape, const ArenaBytes& bytes, Index workers = 1,
             const Numerics& numerics = {})
      : Base{Layout{}, 0, shape, binding, bytes, {}, workers, numerics} {
    for (Index i = 0; i <= shape.sequences; ++i) begins_.push_back(i * shape.length);
    this->set_batch({.tokens = shape.tokens(), .targets = shape.tokens()});
    this->begin_micro_step(0, begins_.data());
  }

  //! Sequences of these lengths instead, at most shape.length each.
  void set_lengths(const std::vector<Index>& lengths) {
    begins_.assign(1, 0);
    for (const Index length : lengths) begins_.push_back(begins_.back() + length);
    this->set_batch({.tokens = begins_.back(), .targets = begins_.back()});
    this->begin_micro_step(0, begins_.data());
  }

 private:
  std::vector<Index> begins_{};
};

}  // namespace moepar
