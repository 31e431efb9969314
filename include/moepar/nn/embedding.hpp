// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/device/rank.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/topology/facts.hpp>

namespace moepar {

//! Table of Vocabulary rows of Hidden elements, one for each token id.
template <Index Vocabulary, Index Hidden> struct Embedding {
  static constexpr bool rules_hold = require_sizes_are_positive<Vocabulary, Hidden>();
  static_assert(detail::checked<rules_hold>);
  static constexpr ModuleFacts facts{.hidden = Hidden};

  Parameter weight{detail::size_or_one(Vocabulary), detail::size_or_one(Hidden)};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("weight", self.weight);
  }

  template <class Element> struct Record {
    const std::int32_t* ids = nullptr;
  };

  //! ids: one for each row of output, each 0..Vocabulary-1; they must live until backward.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, const std::int32_t* ids, Matrix<Element> output, Record<Element>& record) const {
    record.ids = ids;
    rank.device().embed(rank.rows(), ids, rank.weights(weight), output);
  }

  //! Sets the gradient of the table. The row of Numerics::padding_token gets none, as in torch's Embedding.
  template <compute_rank Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, ConstMatrix<Element> output_gradient, const Record<Element>& record) const {
    const Index mark = rank.arena().mark();
    const auto scratch = rank.arena().template take<Index>(1, Vocabulary + 1 + output_gradient.rows);
    const auto gradient = rank.gradient(weight);
    rank.device().embedding_gradient(rank.rows(), record.ids, output_gradient, gradient, scratch);
    if constexpr (!Rank::counting) {
      const Index padding = rank.numerics().padding_token;
      for (Index part = 0; part < gradient.parts && padding >= 0; ++part)
        std::fill_n(gradient.part(part).row(padding), Hidden, Element{0});
    }
    rank.arena().release(mark);
  }
};

}  // namespace moepar
