// SPDX-License-Identifier: Apache-2.0
// Mixtral 8x7B as a type on 64 ranks: a real model costs what a small one costs.
#include <moepar/moe.hpp>

namespace mp = moepar;
using namespace mp::literals;

struct Model : mp::Mixtral8x7B</*ExpertDegree=*/8, /*ShardDegree=*/8> {};

using Job = mp::Deployment<Model, mp::World<64>>;

static_assert(Job::parameters().total() == 46'702'792'704);
static_assert(Job::memory({.sequences = 1, .length = 512, .precision = mp::Precision::bf16}).bytes_per_rank <= 80_GB);
