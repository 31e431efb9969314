// SPDX-License-Identifier: Apache-2.0
#pragma once
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <moepar/core/index.hpp>
#include <utility>

#if !defined(__clang__)  // g++ 12 warns about the undefined operands in its own avx512fintrin.h
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace moepar::cpu::detail {

//! 16 x 16 floats in registers. Whole cache lines are read, which rows a power of two apart need: they share cache
//! sets and would be gone before a second visit.
struct Avx512Block {
  using All = std::make_index_sequence<16>;
  __m512 row[16];

  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx512f")]] inline void load(std::index_sequence<I...>, Index count,
                                                                  const float* from, Index stride, __mmask16 mask) {
    ((row[I] = static_cast<Index>(I) < count ? _mm512_maskz_loadu_ps(mask, from + static_cast<Index>(I) * stride)
                                             : _mm512_setzero_ps()),
     ...);
  }
  //! Pairs of rows, then pairs of pairs, within the four 128-bit lanes ...
  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx512f")]] inline Avx512Block pairs(std::index_sequence<I...>) const {
    return {{(I % 2 ? _mm512_unpackhi_ps(row[I - 1], row[I]) : _mm512_unpacklo_ps(row[I], row[I + 1]))...}};
  }
  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx512f")]] inline Avx512Block quads(std::index_sequence<I...>) const {
    return {{(I % 2 ? high_doubles(row[I / 4 * 4 + I % 4 / 2], row[I / 4 * 4 + I % 4 / 2 + 2])
                    : low_doubles(row[I / 4 * 4 + I % 4 / 2], row[I / 4 * 4 + I % 4 / 2 + 2]))...}};
  }
  //! ... then the lanes of rows 4 and 8 apart.
  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx512f")]] inline Avx512Block lanes(std::index_sequence<I...>) const {
    return {{(I / 4 % 2 ? _mm512_shuffle_f32x4(row[I / 8 * 8 + I % 4], row[I / 8 * 8 + I % 4 + 4], 0xdd)
                        : _mm512_shuffle_f32x4(row[I / 8 * 8 + I % 4], row[I / 8 * 8 + I % 4 + 4], 0x88))...}};
  }
  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx512f")]] inline Avx512Block halves(std::index_sequence<I...>) const {
    return {{(I / 8 ? _mm512_shuffle_f32x4(row[I % 8], row[I % 8 + 8], 0xdd)
                    : _mm512_shuffle_f32x4(row[I % 8], row[I % 8 + 8], 0x88))...}};
  }
  //! Row c to to[c * stride], for c < count.
  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx512f")]] inline void store(std::index_sequence<I...>, Index count, float* to,
                                                                   Index stride) const {
    ((static_cast<Index>(I) < count ? _mm512_store_ps(to + static_cast<Index>(I) * stride, row[I]) : void()), ...);
  }

 private:
  [[gnu::always_inline, gnu::target("avx512f")]] static inline __m512 low_doubles(__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpacklo_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
  [[gnu::always_inline, gnu::target("avx512f")]] static inline __m512 high_doubles(__m512 a, __m512 b) {
    return _mm512_castpd_ps(_mm512_unpackhi_pd(_mm512_castps_pd(a), _mm512_castps_pd(b)));
  }
};

//! panel[step * stride_of_panel + c] = source[c * stride + step] for c < count, 0 for c = count..15; panel aligned
[[gnu::target("avx512f")]] inline void avx512_transpose(Index count, Index steps, const float* source, Index stride,
                                                        float* panel, Index stride_of_panel) {
  constexpr Avx512Block::All all{};
  for (Index step = 0; step < steps; step += 16) {
    const Index left = steps - step;
    const auto mask = static_cast<__mmask16>(left >= 16 ? 0xffffU : (1U << left) - 1U);
    Avx512Block block;
    block.load(all, count, source + step, stride, mask);
    block.pairs(all).quads(all).lanes(all).halves(all).store(all, left, panel + step * stride_of_panel,
                                                             stride_of_panel);
  }
}

}  // namespace moepar::cpu::detail

#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif
