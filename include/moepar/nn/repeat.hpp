// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/device/rank.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! Layers copies of one block, one after another: an array of one type, so that compile time does not depend on Layers.
template <class Block, Index Layers> struct Repeat {
  static constexpr bool rules_hold = [] {
    if constexpr (!children_intact<Block>())
      return false;
    else if constexpr (!require_module<Block>())
      return false;
    else
      return require_sizes_are_positive<Layers>();
  }();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts = facts_of<Block>();

  std::array<Block, static_cast<std::size_t>(detail::size_or_one(Layers))> layers{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk.each("layers", self.layers);
  }

  static constexpr bool computes_inside = moepar::computes<Block>();

  //! Parameters are gathered and gradients reduced one layer at a time (HybridShard then leaves that to it).
  static constexpr bool gathers_by_part = true;

  template <class Element> struct Record {
    std::array<RecordOf<Block, Element>, static_cast<std::size_t>(detail::size_or_one(Layers))> layers{};
  };

  //! input, output: rows x hidden; input must live until backward.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, ConstMatrix<Element> input, Matrix<Element> output,
                         Record<Element>& record) const {
    ConstMatrix<Element> in = input;
    for (std::size_t i = 0; i < layers.size(); ++i) {
      const bool last = i + 1 == layers.size();
      const Matrix<Element> out = last ? output : rank.arena().template take<Element>(input.rows, input.columns);
      rank.with_parameters(layers[i], [&] { layers[i].forward(rank, in, out, record.layers[i]); });
      in = out;
    }
  }

  //! Sets input_gradient and the gradients of all layers. Its own memory is released again.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, ConstMatrix<Element> output_gradient, Matrix<Element> input_gradient,
                          Record<Element>& record) const {
    auto& arena = rank.arena();
    const Index mark = arena.mark();
    const Matrix<Element> spare[] = {arena.template take<Element>(output_gradient.rows, output_gradient.columns),
                                     arena.template take<Element>(output_gradient.rows, output_gradient.columns)};
    ConstMatrix<Element> out = output_gradient;
    for (std::size_t i = layers.size(); i-- > 0;) {
      const Matrix<Element> in = i == 0 ? input_gradient : spare[i % 2];
      rank.with_gradients(layers[i], [&] { layers[i].backward(rank, out, in, record.layers[i]); });
      out = in;
    }
    arena.release(mark);
  }
};

}  // namespace moepar
