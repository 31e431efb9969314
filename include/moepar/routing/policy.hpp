// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace moepar {

//! Marks a routing policy: how router logits become experts and weights. A policy of your own derives from it.
struct RouterPolicy {};

//! Softmax over the TopK largest logits; nothing balances the experts. What Hugging Face transformers computes for
//! Mixtral.
struct TopKSoftmax : RouterPolicy {};

//! TopKSoftmax, with the auxiliary load-balancing loss of Switch Transformer (Fedus et al. 2021, section 2.2).
struct AuxiliaryLoss : RouterPolicy {};

//! Experts by Sinkhorn-normalised logits (Clark et al. 2022, S-BASE), weights from the plain logits.
struct Sinkhorn : RouterPolicy {};

}  // namespace moepar
