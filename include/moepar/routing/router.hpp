// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <concepts>
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/routing/policy.hpp>

namespace moepar {

template <class P>
concept router_policy = std::derived_from<P, RouterPolicy>;

template <class Policy> consteval bool require_router_policy() {
  static_assert(router_policy<Policy>,
                "moepar::Router: Policy must be a routing policy. "
                "Fix: pass TopKSoftmax, AuxiliaryLoss, Sinkhorn or a class derived from RouterPolicy.");
  return router_policy<Policy>;
}

//! Chooses TopK experts a token by Policy. Holds no parameters: the gate that makes the logits belongs to Moe.
template <class Policy, Index TopK> struct Router {
  static constexpr bool rules_hold = require_router_policy<Policy>();
  static_assert(detail::checked<rules_hold>);

  using policy = Policy;
  static constexpr Index top_k = TopK;
};

//! Whether R may stand as the router of a Moe.
template <class R>
concept router = requires {
  typename R::policy;
  { R::top_k } -> std::convertible_to<Index>;
};

}  // namespace moepar
