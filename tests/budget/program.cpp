// SPDX-License-Identifier: Apache-2.0
// A program as a user writes it, up to the run: what it costs to compile is counted (tests/budget.py).
#include <moepar/moe.hpp>

namespace mp = moepar;
using namespace mp::literals;

struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<256, 512>, 8>, /*Degree=*/2> {};
struct MoeLayer : mp::Moe<mp::Router<mp::Sinkhorn, /*TopK=*/2>, Experts> {};
struct Block : mp::Recompute<mp::TransformerBlock<mp::Attention<256, /*heads*/ 8, /*kv heads*/ 2>, MoeLayer>> {};
struct Model : mp::HybridShard<mp::CausalLm</*vocabulary*/ 32000, mp::Repeat<Block, 4>>, /*ShardDegree=*/2> {};

using Job = mp::Deployment<Model, mp::World<8>>;

static_assert(Job::memory({.sequences = 4, .length = 512}).bytes_per_rank <= 2_GiB);
