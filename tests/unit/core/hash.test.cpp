// SPDX-License-Identifier: Apache-2.0
#include <moepar/core/hash.hpp>

#include <doctest/doctest.h>

#include <limits>
#include <span>

#include <moepar/core/bf16.hpp>

namespace {

using moepar::fnv1a;
using moepar::Index;
using moepar::mix;
using moepar::tensor_hash;

constexpr float values[] = {-1.5f, -0.5f, 0.5f, 1.5f};
constexpr std::span<const float> all{values};

static_assert(mix(0) == 0);
static_assert(mix(1) == 0x5692161d100b05e5);
static_assert(fnv1a("") == 0xcbf29ce484222325);
static_assert(fnv1a("a") == 0xaf63dc4c8601ec8c);
static_assert(fnv1a("ab") == fnv1a("b", fnv1a("a")));
static_assert(fnv1a("\xff") == ((0xcbf29ce484222325 ^ 0xff) * 0x100000001b3), "a byte is a number from 0 to 255");
static_assert(fnv1a("model.layers.0.block_sparse_moe.experts.3.w1.weight") == 0x4f36bf8f5fb73f04);
static_assert(tensor_hash("w", 0, all) == 0x3039e8c0a832461f);
static_assert(tensor_hash("w", 0, all.first(1)) == 0x18c759127f68d7f0);

TEST_CASE("a tensor's hash is the sum over its slices, wherever they are cut") {
  for (std::size_t cut = 0; cut <= all.size(); ++cut)
    CHECK(tensor_hash("w", 0, all.first(cut)) + tensor_hash("w", static_cast<Index>(cut), all.subspan(cut)) ==
          0x3039e8c0a832461f);
}

TEST_CASE("the hash sees the name, the index and every bit but a NaN's payload") {
  const float zeros[] = {0.0f, -0.0f};
  const std::span<const float> zero{zeros};
  CHECK(tensor_hash("w", 0, all) != tensor_hash("v", 0, all));
  CHECK(tensor_hash("w", 0, all) != tensor_hash("w", 1, all));
  CHECK(tensor_hash("w", 0, zero.first(1)) != tensor_hash("w", 0, zero.last(1)));

  for (const std::uint32_t bits : {0x7f800001u, 0x7fc00000u, 0xffc00000u, 0xffffffffu})
    CHECK(moepar::hashed_bits(std::bit_cast<float>(bits)) == 0x7fc00000);
  CHECK(moepar::hashed_bits(-std::numeric_limits<double>::quiet_NaN()) == 0x7ff8000000000000);
  CHECK(moepar::hashed_bits(moepar::Bf16{0xffff}) == moepar::hashed_bits(moepar::Bf16{0x7fc1}));
  CHECK(moepar::hashed_bits(moepar::Bf16{0x7f80}) == 0x7f80);
  CHECK(moepar::hashed_bits(std::numeric_limits<float>::infinity()) == 0x7f800000);
}

}  // namespace
