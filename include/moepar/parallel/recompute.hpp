// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/rules.hpp>
#include <moepar/device/rank.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! Keeps only the input of Module between forward and backward, and computes the rest again (Chen et al. 2016).
template <class Module> struct Recompute {
  static constexpr bool rules_hold = [] {
    if constexpr (!children_intact<Module>())
      return false;
    else
      return require_module<Module>();
  }();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts = facts_of<Module>();

  Module inner{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk.recomputed(self.inner);
  }

  static constexpr bool computes_inside = moepar::computes<Module>();

  template <class Element> struct Record {
    Matrix<const Element> input{};
    RecordOf<Module, Element> inner{};  //!< keeps its route plans; the rest is made again
  };

  //! input must live until backward.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, ConstMatrix<Element> input, Matrix<Element> output,
                         Record<Element>& record) const {
    record.input = input;
    const Index mark = rank.arena().mark();
    inner.forward(rank, input, output, record.inner);
    rank.arena().release(mark);
  }

  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, ConstMatrix<Element> output_gradient, Matrix<Element> input_gradient,
                          Record<Element>& record) const {
    auto& arena = rank.arena();
    const Index mark = arena.mark();
    const auto output = arena.template take<Element>(output_gradient.rows, output_gradient.columns);
    inner.forward(rank, record.input, output, record.inner);
    inner.backward(rank, output_gradient, input_gradient, record.inner);
    arena.release(mark);
  }
};

}  // namespace moepar
