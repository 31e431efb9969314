// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>
#include <moepar/nn/attention.hpp>
#include <moepar/nn/causal_lm.hpp>
#include <moepar/nn/experts.hpp>
#include <moepar/nn/moe.hpp>
#include <moepar/nn/repeat.hpp>
#include <moepar/nn/swiglu.hpp>
#include <moepar/nn/transformer_block.hpp>
#include <moepar/parallel/expert_parallel.hpp>
#include <moepar/parallel/hybrid_shard.hpp>
#include <moepar/parallel/recompute.hpp>
#include <moepar/routing/router.hpp>

namespace moepar {

//! The experts, MoE layer and block of Mixtral 8x7B (Jiang et al. 2024). Structs, not aliases: compilers then print
//! these names.
template <Index ExpertDegree>
struct Mixtral8x7BExperts : ExpertParallel<Experts<SwiGlu<4096, 14336>, 8>, ExpertDegree> {};

template <Index ExpertDegree, class Policy>
struct Mixtral8x7BMoe : Moe<Router<Policy, 2>, Mixtral8x7BExperts<ExpertDegree>> {};

template <Index ExpertDegree, class Policy>
struct Mixtral8x7BBlock : Recompute<TransformerBlock<Attention<4096, 32, 8>, Mixtral8x7BMoe<ExpertDegree, Policy>>> {};

//! Mixtral 8x7B spread over ExpertDegree x ShardDegree ranks and replicated over the rest of the world; blocks are
//! recomputed.
template <Index ExpertDegree = 1, Index ShardDegree = 1, class Policy = TopKSoftmax>
struct Mixtral8x7B : HybridShard<CausalLm<32000, Repeat<Mixtral8x7BBlock<ExpertDegree, Policy>, 32>>, ShardDegree> {};

}  // namespace moepar
