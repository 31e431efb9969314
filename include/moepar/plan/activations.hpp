// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/device/counting_rank.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/tensor/matrix.hpp>

namespace moepar {

//! A module whose forward and backward turn rows of `facts.hidden` elements into such rows.
template <class M, class Element>
concept computes_rows = module_type<M> && requires { requires M::facts.hidden >= 1; } &&
                        requires(const M& m, CountingRank<Element>& rank, Matrix<const Element> in, Matrix<Element> out,
                                 typename M::template Record<Element>& record) {
                          m.forward(rank, in, out, record);
                          m.backward(rank, in, out, record);
                        };

//! Bytes and floating-point operations of one forward and backward pass.
struct PassCost {
  Index arena_bytes = 0;  //!< what the arena of a rank must hold for it
  Index flops = 0;
  friend constexpr bool operator==(const PassCost&, const PassCost&) = default;
};

//! Runs forward and backward of M over `rows` rows on a rank that only counts: the plan is the program itself.
template <class M, class Element = float>
  requires computes_rows<M, Element>
constexpr PassCost cost_of_pass(Index rows) {
  CountingRank<Element> rank;
  const M model{};
  typename M::template Record<Element> record{};
  const Matrix<const Element> in{nullptr, rows, M::facts.hidden};
  const Matrix<Element> out{nullptr, rows, M::facts.hidden};
  model.forward(rank, in, out, record);
  model.backward(rank, in, out, record);
  return {.arena_bytes = rank.arena().high_water(), .flops = rank.device().flops()};
}

}  // namespace moepar
