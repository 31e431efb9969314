// SPDX-License-Identifier: Apache-2.0
// Heads, and what a block is made of.
#include <moepar/model.hpp>

namespace mp = moepar;

struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<64, 128>, 8>, 2> {};
struct MoeLayer : mp::Moe<mp::Router<mp::TopKSoftmax, 2>, Experts> {};

#if MOEPAR_CASE == 1
// expected-error-1 {{moepar::Attention: Heads must divide Hidden.}}
// expected-number-1 {{Heads = 7}}
// expected-number-1 {{Hidden = 64}}
struct Block : mp::TransformerBlock<mp::Attention<64, 7, 7>, MoeLayer> {};
#elif MOEPAR_CASE == 2
// expected-error-2 {{moepar::Attention: KvHeads must divide Heads.}}
// expected-number-2 {{KvHeads = 3}}
// expected-number-2 {{Heads = 8}}
struct Block : mp::TransformerBlock<mp::Attention<64, 8, 3>, MoeLayer> {};
#elif MOEPAR_CASE == 3
// expected-error-3 {{moepar::Attention: HeadSize must be even}}
// expected-number-3 {{HeadSize = 1}}
struct Block : mp::TransformerBlock<mp::Attention<64, 64, 8>, MoeLayer> {};
#elif MOEPAR_CASE == 4
// expected-error-4 {{moepar::TransformerBlock: attention and feed-forward must have the same hidden size.}}
// expected-number-4 {{AttentionHidden = 32}}
// expected-number-4 {{FeedForwardHidden = 64}}
struct Block : mp::TransformerBlock<mp::Attention<32, 8, 2>, MoeLayer> {};
#elif MOEPAR_CASE == 5
// The two arguments swapped.
// expected-error-5 {{moepar::TransformerBlock: the first argument is the attention.}}
struct Block : mp::TransformerBlock<MoeLayer, mp::Attention<64, 8, 2>> {};
#elif MOEPAR_CASE == 6
// expected-error-6 {{moepar: every size of a module must be between 1 and 2^31.}}
// expected-number-6 {{Sizes = {64, 0, 2}}}
struct Block : mp::TransformerBlock<mp::Attention<64, 0, 2>, MoeLayer> {};
#elif MOEPAR_CASE == 7
// expected-error-7 {{moepar: every size of a module must be between 1 and 2^31.}}
// expected-number-7 {{Sizes = {131072, 8589934592}}}
struct Block : mp::TransformerBlock<mp::Attention<64, (1 << 16), (1 << 16), (1 << 17)>, MoeLayer> {};
#else
struct Block : mp::TransformerBlock<mp::Attention<64, 7, 7, /*HeadSize=*/16>, MoeLayer> {};
#endif

struct Model : mp::HybridShard<mp::CausalLm<320, mp::Repeat<mp::Recompute<Block>, 4>>, 2> {};
static_assert(mp::Deployment<Model, mp::World<8>>::parameters().total() >= 0);
