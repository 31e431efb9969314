// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/kernels/cpu/gemm/avx2_tile.hpp>
#include <moepar/kernels/cpu/gemm/avx512_tile.hpp>
#include <moepar/kernels/cpu/gemm/portable_tile.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <type_traits>

namespace moepar::cpu::detail {

//! Calls body(tile) with the tile for the instruction set in use.
template <class Element, class Body> void with_tile(const Body& body) {
#if defined(__x86_64__)
  if constexpr (std::is_same_v<Element, float>) {
    if (instruction_set() == InstructionSet::avx512) return body(Avx512Tile{});
    if (instruction_set() == InstructionSet::avx2) return body(Avx2Tile{});
  }
#endif
  body(PortableTile<Element>{});
}

}  // namespace moepar::cpu::detail
