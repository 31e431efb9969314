// SPDX-License-Identifier: Apache-2.0
// program.cpp with sixteen times the layers, 512 times the ranks and other degrees: it costs the same to compile. Its
// numbers differ wherever those of program.cpp differ, or two layers would be one type here and two there.
#include <moepar/moe.hpp>

namespace mp = moepar;
using namespace mp::literals;

struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<256, 512>, 48>, /*Degree=*/16> {};
struct MoeLayer : mp::Moe<mp::Router<mp::Sinkhorn, /*TopK=*/4>, Experts> {};
struct Block : mp::Recompute<mp::TransformerBlock<mp::Attention<256, /*heads*/ 16, /*kv heads*/ 4>, MoeLayer>> {};
struct Model : mp::HybridShard<mp::CausalLm</*vocabulary*/ 32000, mp::Repeat<Block, 64>>, /*ShardDegree=*/32> {};

using Job = mp::Deployment<Model, mp::World<4096>>;

static_assert(Job::memory({.sequences = 4, .length = 512}).bytes_per_rank <= 2_GiB);
