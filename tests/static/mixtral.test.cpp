// SPDX-License-Identifier: Apache-2.0
// Mixtral 8x7B as a type: published sizes, and the state of a rank with 16 bytes a parameter on known layouts.
#include <moepar/model.hpp>

namespace mp = moepar;
using namespace mp::literals;
using mp::Index;

namespace {

template <Index World, Index ExpertDegree, Index ShardDegree>
using Job = mp::Deployment<mp::Mixtral8x7B<ExpertDegree, ShardDegree>, mp::World<World>>;

static_assert(Job<1, 1, 1>::parameters().total() == 46'702'792'704);
static_assert(Job<1, 1, 1>::parameters().dense == 1'605'636'096);
static_assert(Job<1, 1, 1>::parameters().expert == 45'097'156'608);
static_assert(Job<1, 1, 1>::parameters().active == 12'879'925'248);

// Tenths of 10^9 bytes, rounded.
constexpr Index tenths(Index bytes) { return (bytes + 50'000'000) / 100'000'000; }

static_assert(tenths(Job<16, 1, 16>::state().total()) == 467);
static_assert(tenths(Job<16, 2, 8>::state().total()) == 483);
static_assert(tenths(Job<16, 8, 2>::state().total()) == 579);
static_assert(tenths(Job<64, 2, 32>::state().total()) == 121);
static_assert(tenths(Job<128, 1, 128>::state().total()) == 58);

// bfloat16 weights beside a 32-bit master: 2 + 4 + 12 bytes a parameter instead of 4 + 4 + 8.
constexpr auto held = Job<16, 2, 8>::parameters_of_rank().total();
static_assert(Job<16, 2, 8>::state(mp::Precision::bf16) ==
              mp::StateBytes{.parameters = 2 * held, .gradients = 4 * held, .optimizer = 12 * held});
static_assert(Job<16, 2, 8>::state(mp::Precision::f32) ==
              mp::StateBytes{.parameters = 4 * held, .gradients = 4 * held, .optimizer = 8 * held});

// A norm of 4096 elements is four blocks: four of eight ranks hold one, the others none.
using Eight = Job<64, 8, 8>;
static_assert(Eight::parameters_of_rank(0).expert == 704'643'072);
static_assert(Eight::parameters_of_rank(0).dense - Eight::parameters_of_rank(7).dense == 65 * 1024);

// The smallest sharding that fits is an answer of the compiler.
static_assert(*Job<64, 2, 1>::smallest_shard_degree_that_fits(80_GB) == 8);
static_assert(*Job<64, 8, 1>::smallest_shard_degree_that_fits(80_GB) == 2);
static_assert(*Job<64, 8, 1>::smallest_shard_degree_that_fits(12_GB) == 0);
static_assert(!Job<64, 8, 1>::smallest_shard_degree_that_fits(11_GB));
static_assert(*Job<1 << 20, 8, 1>::smallest_shard_degree_that_fits(80_GB) == 2);

}  // namespace
