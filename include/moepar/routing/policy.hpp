// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/tensor/router_totals.hpp>

namespace moepar {

//! Marks a routing policy: how router logits become experts and weights. A policy of your own derives from it and hides
//! what it changes:
//!   balances, balance_scope   whether it has an auxiliary loss, and over what
//!   balances_by_layer         whether each layer has a loss of its own, or all together have one
//!   select(device, ...)       see routing/select.hpp
struct RouterPolicy {
  static constexpr bool balances = false;
  static constexpr Scope balance_scope = Scope::sequence;
  static constexpr bool balances_by_layer = false;
};

//! Softmax over the TopK largest logits; nothing balances the experts. What Hugging Face transformers computes for
//! Mixtral.
struct TopKSoftmax : RouterPolicy {};

//! TopKSoftmax, with the auxiliary load-balancing loss of Switch Transformer (Fedus et al. 2021, section 2.2) over all
//! layers together, as Hugging Face transformers has it: experts x sum over experts of (share of the tokens sent there)
//! x (mean probability). Perfect balance gives TopK. Over each sequence, weighted by its tokens, or over the whole
//! batch of a step, which must then be one micro-step.
template <Scope Over> struct AuxiliaryLossOver : TopKSoftmax {
  static constexpr bool balances = true;
  static constexpr Scope balance_scope = Over;
};
struct AuxiliaryLoss : AuxiliaryLossOver<Scope::sequence> {};
struct RoundAuxiliaryLoss : AuxiliaryLossOver<Scope::round> {};

//! TopKSoftmax, with the auxiliary loss as Megatron-LM has it (core 0.5 and later): each layer by itself, divided by
//! TopK, the layers added. Perfect balance gives 1 a layer. The same coefficient means the same gradient as there.
template <Scope Over> struct MegatronLossOver : TopKSoftmax {
  static constexpr bool balances = true;
  static constexpr Scope balance_scope = Over;
  static constexpr bool balances_by_layer = true;
};
struct MegatronLoss : MegatronLossOver<Scope::sequence> {};
struct RoundMegatronLoss : MegatronLossOver<Scope::round> {};

//! Experts by Sinkhorn-normalised logits (Clark et al. 2022, S-BASE), weights from the plain logits: their sigmoid for
//! TopK 1, else their softmax over all experts. Outside of training the largest weights win. Normalised over each
//! sequence, or over the whole batch of a step, which must then be one micro-step.
template <Scope Over> struct SinkhornOver : RouterPolicy {
  static constexpr Scope scope = Over;
};
struct Sinkhorn : SinkhornOver<Scope::sequence> {};
struct RoundSinkhorn : SinkhornOver<Scope::round> {};

}  // namespace moepar
