// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <chrono>
#include <cstddef>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <utility>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace moepar::cpu {
namespace detail {

inline constexpr std::size_t peak_chains = 16;  //!< independent sums: more than latency x throughput of an fma

#if defined(__x86_64__)
#if !defined(__clang__)
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif
struct Avx512Chains {
  __m512 sum[peak_chains];
  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx512f")]] inline void step(std::index_sequence<I...>, __m512 a, __m512 b) {
    ((sum[I] = _mm512_fmadd_ps(sum[I], a, b)), ...);
  }
};
[[gnu::target("avx512f"), gnu::noinline]] inline float fma_loop_avx512(Index rounds) {
  Avx512Chains chains;
  for (__m512& sum : chains.sum) sum = _mm512_set1_ps(1.0f);
  const __m512 a = _mm512_set1_ps(0.5f), b = _mm512_set1_ps(0.5f);
  for (Index i = 0; i < rounds; ++i) chains.step(std::make_index_sequence<peak_chains>{}, a, b);
  __m512 all = chains.sum[0];
  for (std::size_t i = 1; i < peak_chains; ++i) all = _mm512_add_ps(all, chains.sum[i]);
  return _mm512_cvtss_f32(all);
}
struct Avx2Chains {
  __m256 sum[peak_chains - 4];
  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx2,fma")]] inline void step(std::index_sequence<I...>, __m256 a, __m256 b) {
    ((sum[I] = _mm256_fmadd_ps(sum[I], a, b)), ...);
  }
};
[[gnu::target("avx2,fma"), gnu::noinline]] inline float fma_loop_avx2(Index rounds) {
  Avx2Chains chains;
  for (__m256& sum : chains.sum) sum = _mm256_set1_ps(1.0f);
  const __m256 a = _mm256_set1_ps(0.5f), b = _mm256_set1_ps(0.5f);
  for (Index i = 0; i < rounds; ++i) chains.step(std::make_index_sequence<peak_chains - 4>{}, a, b);
  __m256 all = chains.sum[0];
  for (std::size_t i = 1; i < peak_chains - 4; ++i) all = _mm256_add_ps(all, chains.sum[i]);
  return _mm256_cvtss_f32(all);
}
#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif

}  // namespace detail

//! Floating-point operations a second of one thread with the instruction set in use: the best of a few short loops of
//! fused multiply-adds, about 10 ms in all. 0 for the portable kernels, whose speed is no measure of a machine.
inline double measured_peak() {
  double best = 0;
#if defined(__x86_64__)
  using Clock = std::chrono::steady_clock;
  constexpr Index rounds = 200'000;
  for (int attempt = 0; attempt < 5; ++attempt) {
    const auto start = Clock::now();
    double flops = 0;
    volatile float keep = 0;
    if (instruction_set() == InstructionSet::avx512) {
      keep = detail::fma_loop_avx512(rounds);
      flops = 2.0 * 16 * static_cast<double>(detail::peak_chains) * rounds;
    } else if (instruction_set() == InstructionSet::avx2) {
      keep = detail::fma_loop_avx2(rounds);
      flops = 2.0 * 8 * static_cast<double>(detail::peak_chains - 4) * rounds;
    }
    static_cast<void>(keep);
    const double seconds = std::chrono::duration<double>(Clock::now() - start).count();
    if (seconds > 0 && flops / seconds > best) best = flops / seconds;
  }
#endif
  return best;
}

}  // namespace moepar::cpu
