// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <concepts>
#include <moepar/core/index.hpp>
#include <moepar/tensor/arena.hpp>
#include <moepar/tensor/gradient_parts.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/tensor/row_groups.hpp>

namespace moepar {

//! What module code may know of the machine. `forward` and `backward` take one and touch memory, kernels and weights
//! through it only; they name no device, have no static locals, log nothing and call no <cmath>. The same code then
//! runs on a rank that only counts, also in constant expressions, and on one that computes
//! (parallel/parallel_rank.hpp).
template <class R>
concept compute_rank = requires(R& rank, const Parameter& parameter) {
  typename R::Element;
  requires std::same_as<decltype(R::counting), const bool>;  // loops of your own over data: if constexpr (!R::counting)
  { rank.arena() } -> std::same_as<Arena&>;
  rank.device();
  { rank.rows() } -> std::convertible_to<RowGroups>;                               // of the matrices at hand
  { rank.weights(parameter) } -> std::same_as<Matrix<const typename R::Element>>;  // this rank's extents
  { rank.gradient(parameter) } -> std::same_as<GradientParts<typename R::Element>>;
};

}  // namespace moepar
