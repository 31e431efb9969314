// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <moepar/nn/path.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/optim/parameter_list.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/parameter.hpp>

// A tied parameter (Walk::tied) lies on a rank once for each use: the same shards of the same values, and a gradient
// each. One gradient for both uses would be a sum over tokens of two kinds, whose order the tree does not know.
namespace moepar {

//! Gives the values of a parameter to its further uses: after whatever has set them.
template <class Rank> void copy_to_uses(Rank& rank, const ListedParameter& listed) {
  const auto from = rank.kept(listed.parameter);
  for (const Parameter& use : listed.uses) std::copy(from.begin(), from.end(), rank.kept(use).begin());
}

//! Adds the gradients of further uses to that of the parameter: when all are summed over the batch.
template <class Rank, class Model> constexpr void add_gradients_of_uses(Rank& rank, const Model& model) {
  if constexpr (!Rank::counting) {
    using Element = typename Rank::Element;
    for_each_use(model, [&](const Site& site, const Parameter& use) {
      if (site.tied == nullptr) return;
      const auto sum = rank.kept_gradient(*site.tied);
      const auto part = rank.kept_gradient(use);
      const auto count = static_cast<Index>(sum.size());
      rank.device().add_onto(Matrix<Element>{sum.data(), 1, count}, Matrix<const Element>{part.data(), 1, count});
    });
  }
}

}  // namespace moepar
