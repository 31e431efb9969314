// SPDX-License-Identifier: Apache-2.0
// mixtral.cpp with four times the layers and sixteen times the ranks: it costs the same to compile.
#include <moepar/moe.hpp>

namespace mp = moepar;
using namespace mp::literals;

// What Mixtral8x7B is, with 128 layers.
template <mp::Index ExpertDegree, mp::Index ShardDegree, class Policy = mp::TopKSoftmax>
struct Deep
    : mp::HybridShard<mp::CausalLm<32000, mp::Repeat<mp::Mixtral8x7BBlock<ExpertDegree, Policy>, 128>>, ShardDegree> {};

struct Model : Deep</*ExpertDegree=*/8, /*ShardDegree=*/64> {};

using Job = mp::Deployment<Model, mp::World<1024>>;

static_assert(Job::parameters().total() == 186'024'726'528);
static_assert(Job::memory({.sequences = 1, .length = 512, .precision = mp::Precision::bf16}).bytes_per_rank <= 80_GB);
