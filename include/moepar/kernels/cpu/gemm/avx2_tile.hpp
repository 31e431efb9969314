// SPDX-License-Identifier: Apache-2.0
#pragma once
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/gemm/tile_work.hpp>
#include <utility>

namespace moepar::cpu::detail {

//! Lanes i < count, count 0 to 8.
[[gnu::always_inline, gnu::target("avx2,fma")]] inline __m256i avx2_mask(Index count) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(static_cast<int>(count)), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}

//! The accumulators of Rows x 16 floats, two registers a row. Unrolled by fold: loops over them would keep them in
//! memory.
template <std::size_t Rows> struct Avx2Sums {
  using All = std::make_index_sequence<2 * Rows>;
  __m256 sum[2 * Rows];

  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx2,fma")]] inline void clear(std::index_sequence<I...>) {
    ((sum[I] = _mm256_setzero_ps()), ...);
  }
  // Masked moves only where a tile is cut: some processors store a masked register many times slower than a whole one.
  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx2,fma")]] inline void load(std::index_sequence<I...>, const float* from,
                                                                   Index stride, Index columns) {
    if (columns >= 16) {
      ((sum[I] = _mm256_loadu_ps(from + static_cast<Index>(I / 2) * stride + static_cast<Index>(I % 2 * 8))), ...);
      return;
    }
    const __m256i low = avx2_mask(columns), high = avx2_mask(columns - 8);
    ((sum[I] = _mm256_maskload_ps(from + static_cast<Index>(I / 2) * stride + static_cast<Index>(I % 2 * 8),
                                  I % 2 ? high : low)),
     ...);
  }
  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx2,fma")]] inline void store(std::index_sequence<I...>, float* to, Index stride,
                                                                    Index columns) const {
    if (columns >= 16) {
      (_mm256_storeu_ps(to + static_cast<Index>(I / 2) * stride + static_cast<Index>(I % 2 * 8), sum[I]), ...);
      return;
    }
    const __m256i low = avx2_mask(columns), high = avx2_mask(columns - 8);
    (_mm256_maskstore_ps(to + static_cast<Index>(I / 2) * stride + static_cast<Index>(I % 2 * 8), I % 2 ? high : low,
                         sum[I]),
     ...);
  }
  template <Index LeftRow, std::size_t... I>
  [[gnu::always_inline, gnu::target("avx2,fma")]] inline void step(std::index_sequence<I...>, const float* left,
                                                                   __m256 right_low, __m256 right_high) {
    ((sum[I] = _mm256_fmadd_ps(_mm256_broadcast_ss(left + static_cast<Index>(I / 2) * LeftRow),
                               I % 2 ? right_high : right_low, sum[I])),
     ...);
  }
  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx2,fma")]] inline void add(std::index_sequence<I...>, const float* earlier) {
    ((sum[I] = _mm256_add_ps(_mm256_load_ps(earlier + static_cast<Index>(I * 8)), sum[I])), ...);
  }
};

template <class Left, Index TileRows, std::size_t Rows>
[[gnu::target("avx2,fma")]] void avx2_tile(const TileWork<float>& work) {
  constexpr typename Avx2Sums<Rows>::All all{};
  Avx2Sums<Rows> sums;
  if (work.start != nullptr)
    sums.load(all, work.start, work.start_stride, work.columns);
  else
    sums.clear(all);
  const float *left = work.left, *right = work.right;
  for (Index step = work.steps; step > 0; --step) {
    sums.template step<Left::template row<TileRows>>(all, left, _mm256_load_ps(right), _mm256_load_ps(right + 8));
    left += Left::template step<TileRows>;
    right += 16;
  }
  const float* earlier = work.recent_top;
  for (Index count = work.recent; count > 0; --count, earlier -= TileRows * 16) sums.add(all, earlier);
  earlier = work.older_top;
  for (Index count = work.older; count > 0; --count, earlier -= TileRows * 16) sums.add(all, earlier);
  sums.store(all, work.result, work.result_stride, work.columns);
}

//! panel[step * 16 + c] = source[c * stride + step] for 8 columns and 4 steps: pairs of rows 4 apart are joined while
//! loading, then 4 x 4 blocks are turned within the 128-bit lanes.
[[gnu::always_inline, gnu::target("avx2,fma")]] inline void avx2_transpose_block(const float* source, Index stride,
                                                                                 float* panel) {
  const __m256 a =
      _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(source)), _mm_loadu_ps(source + 4 * stride), 1);
  const __m256 b =
      _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(source + stride)), _mm_loadu_ps(source + 5 * stride), 1);
  const __m256 c = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(source + 2 * stride)),
                                        _mm_loadu_ps(source + 6 * stride), 1);
  const __m256 d = _mm256_insertf128_ps(_mm256_castps128_ps256(_mm_loadu_ps(source + 3 * stride)),
                                        _mm_loadu_ps(source + 7 * stride), 1);
  const __m256d ab_low = _mm256_castps_pd(_mm256_unpacklo_ps(a, b));
  const __m256d ab_high = _mm256_castps_pd(_mm256_unpackhi_ps(a, b));
  const __m256d cd_low = _mm256_castps_pd(_mm256_unpacklo_ps(c, d));
  const __m256d cd_high = _mm256_castps_pd(_mm256_unpackhi_ps(c, d));
  _mm256_store_ps(panel, _mm256_castpd_ps(_mm256_unpacklo_pd(ab_low, cd_low)));
  _mm256_store_ps(panel + 16, _mm256_castpd_ps(_mm256_unpackhi_pd(ab_low, cd_low)));
  _mm256_store_ps(panel + 32, _mm256_castpd_ps(_mm256_unpacklo_pd(ab_high, cd_high)));
  _mm256_store_ps(panel + 48, _mm256_castpd_ps(_mm256_unpackhi_pd(ab_high, cd_high)));
}

[[gnu::target("avx2,fma")]] inline void avx2_transpose(Index steps, const float* source, Index stride, float* panel) {
  Index step = 0;
  for (; step + 4 <= steps; step += 4) avx2_transpose_block(source + step, stride, panel + step * 16);
  for (; step < steps; ++step)
    for (Index c = 0; c < 8; ++c) panel[step * 16 + c] = source[c * stride + step];
}

//! 6 x 16 floats: 12 accumulators of the 16 registers.
struct Avx2Tile {
  using Element = float;
  static constexpr Index rows = 6;
  static constexpr Index columns = 16;

  template <class Left> static void run(const TileWork<float>& work) {
    run_rows<Left>(work, std::make_index_sequence<static_cast<std::size_t>(rows)>{});
  }

  //! panel[step * columns + c] = source[c * stride + step] for c < count, 0 for the rest of the panel
  static void pack_transposed(Index count, Index steps, const float* source, Index stride, float* panel) {
    for (Index first = 0; first < columns; first += 8, count -= 8, panel += 8) {
      if (count >= 8) {
        avx2_transpose(steps, source + first * stride, stride, panel);
        continue;
      }
      for (Index step = 0; step < steps; ++step)
        for (Index c = 0; c < 8; ++c)
          panel[step * columns + c] = c < count ? source[(first + c) * stride + step] : 0.0F;
    }
  }

 private:
  template <class Left, std::size_t... Less>
  static void run_rows(const TileWork<float>& work, std::index_sequence<Less...>) {
    static constexpr void (*tiles[])(const TileWork<float>&) = {&avx2_tile<Left, rows, Less + 1>...};
    tiles[work.rows - 1](work);
  }
};

}  // namespace moepar::cpu::detail
#endif
