// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <memory>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/cpu_device.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/tensor/arena.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/parameter.hpp>
#include <new>
#include <vector>

namespace moepar {

//! A world of one rank on the CPU: holds every parameter and its gradient whole, and an arena for the steps. Enough to
//! use a module alone or to check its gradients; ElementType float or double.
template <class ElementType> class SingleRank {
 public:
  using Element = ElementType;

  //! Binds the parameters of `model` to storage of this rank, all zero. arena_bytes: what the plan of a step says.
  template <class Model>
  SingleRank(Model& model, Index arena_bytes)
      : elements_{bind_parameters(model)},
        values_(static_cast<std::size_t>(elements_)),
        gradients_(static_cast<std::size_t>(elements_)),
        memory_{static_cast<std::byte*>(::operator new(static_cast<std::size_t>(arena_bytes), aligned_))},
        arena_{memory_.get(), arena_bytes} {}

  SingleRank(const SingleRank&) = delete;
  SingleRank& operator=(const SingleRank&) = delete;

  Arena& arena() { return arena_; }
  CpuDevice& device() { return device_; }

  Matrix<const Element> weights(const Parameter& parameter) const {
    return {values_.data() + checked(parameter), parameter.rows, parameter.columns};
  }
  Matrix<Element> gradient(const Parameter& parameter) {
    return {gradients_.data() + checked(parameter), parameter.rows, parameter.columns};
  }
  //! The values, for whoever sets them: initialisation, an optimizer, a loader.
  Matrix<Element> values(const Parameter& parameter) {
    return {values_.data() + checked(parameter), parameter.rows, parameter.columns};
  }

 private:
  static constexpr std::align_val_t aligned_{Arena::alignment};
  struct Free {
    void operator()(std::byte* memory) const { ::operator delete(memory, aligned_); }
  };

  Index checked(const Parameter& parameter) const {
    if (parameter.offset < 0 || parameter.offset + parameter.size() > elements_)
      throw Error{
          "moepar::SingleRank: this parameter is not one of the bound model. Fix: use the model that the rank was made "
          "with."};
    return parameter.offset;
  }

  Index elements_;
  std::vector<Element> values_, gradients_;
  std::unique_ptr<std::byte, Free> memory_;
  Arena arena_;
  CpuDevice device_;
};

}  // namespace moepar
