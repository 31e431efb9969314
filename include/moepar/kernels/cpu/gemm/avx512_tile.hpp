// SPDX-License-Identifier: Apache-2.0
#pragma once
#if defined(__x86_64__)
#include <immintrin.h>

#include <cstddef>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/gemm/avx512_transpose.hpp>
#include <moepar/kernels/cpu/gemm/tile_work.hpp>
#include <utility>

#if !defined(__clang__)  // g++ 12 warns about the undefined operands in its own avx512fintrin.h
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wuninitialized"
#pragma GCC diagnostic ignored "-Wmaybe-uninitialized"
#endif

namespace moepar::cpu::detail {

//! The accumulators of Rows x 32 floats, two registers a row. Unrolled by fold: loops over them would keep them in
//! memory.
template <std::size_t Rows> struct Avx512Sums {
  using All = std::make_index_sequence<2 * Rows>;
  __m512 sum[2 * Rows];

  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx512f")]] inline void clear(std::index_sequence<I...>) {
    ((sum[I] = _mm512_setzero_ps()), ...);
  }
  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx512f")]] inline void load(std::index_sequence<I...>, const float* from,
                                                                  Index stride, __mmask16 low, __mmask16 high) {
    ((sum[I] = _mm512_maskz_loadu_ps(I % 2 ? high : low,
                                     from + static_cast<Index>(I / 2) * stride + static_cast<Index>(I % 2 * 16))),
     ...);
  }
  template <Index LeftRow, std::size_t... I>
  [[gnu::always_inline, gnu::target("avx512f")]] inline void step(std::index_sequence<I...>, const float* left,
                                                                  __m512 right_low, __m512 right_high) {
    ((sum[I] = _mm512_fmadd_ps(_mm512_set1_ps(left[static_cast<Index>(I / 2) * LeftRow]),
                               I % 2 ? right_high : right_low, sum[I])),
     ...);
  }
  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx512f")]] inline void add(std::index_sequence<I...>, const float* earlier) {
    ((sum[I] = _mm512_add_ps(_mm512_load_ps(earlier + static_cast<Index>(I * 16)), sum[I])), ...);
  }
  template <std::size_t... I>
  [[gnu::always_inline, gnu::target("avx512f")]] inline void store(std::index_sequence<I...>, float* to, Index stride,
                                                                   __mmask16 low, __mmask16 high) const {
    if (high == 0xffff) {
      (_mm512_storeu_ps(to + static_cast<Index>(I / 2) * stride + static_cast<Index>(I % 2 * 16), sum[I]), ...);
      return;
    }
    (_mm512_mask_storeu_ps(to + static_cast<Index>(I / 2) * stride + static_cast<Index>(I % 2 * 16), I % 2 ? high : low,
                           sum[I]),
     ...);
  }
};

template <class Left, Index TileRows, std::size_t Rows>
[[gnu::target("avx512f")]] void avx512_tile(const TileWork<float>& work) {
  constexpr typename Avx512Sums<Rows>::All all{};
  const unsigned columns = (work.columns >= 32 ? 0U : 1U << work.columns) - 1U;
  const auto low = static_cast<__mmask16>(columns & 0xffffU), high = static_cast<__mmask16>(columns >> 16);
  Avx512Sums<Rows> sums;
  if (work.start != nullptr)
    sums.load(all, work.start, work.start_stride, low, high);
  else
    sums.clear(all);
  const float *left = work.left, *right = work.right;
  for (Index step = work.steps; step > 0; --step) {
    sums.template step<Left::template row<TileRows>>(all, left, _mm512_load_ps(right), _mm512_load_ps(right + 16));
    left += Left::template step<TileRows>;
    right += 32;
  }
  const float* earlier = work.recent_top;
  for (Index count = work.recent; count > 0; --count, earlier -= TileRows * 32) sums.add(all, earlier);
  earlier = work.older_top;
  for (Index count = work.older; count > 0; --count, earlier -= TileRows * 32) sums.add(all, earlier);
  sums.store(all, work.result, work.result_stride, low, high);
}

//! 12 x 32 floats: 24 accumulators of the 32 registers.
struct Avx512Tile {
  using Element = float;
  static constexpr Index rows = 12;
  static constexpr Index columns = 32;

  template <class Left> static void run(const TileWork<float>& work) {
    run_rows<Left>(work, std::make_index_sequence<static_cast<std::size_t>(rows)>{});
  }

  //! panel[step * columns + c] = source[c * stride + step] for c < count, 0 for the rest of the panel
  static void pack_transposed(Index count, Index steps, const float* source, Index stride, float* panel) {
    avx512_transpose(count < 16 ? count : 16, steps, source, stride, panel, columns);
    avx512_transpose(count < 16 ? 0 : count - 16, steps, count < 16 ? source : source + 16 * stride, stride, panel + 16,
                     columns);
  }

 private:
  template <class Left, std::size_t... Less>
  static void run_rows(const TileWork<float>& work, std::index_sequence<Less...>) {
    static constexpr void (*tiles[])(const TileWork<float>&) = {&avx512_tile<Left, rows, Less + 1>...};
    tiles[work.rows - 1](work);
  }
};

}  // namespace moepar::cpu::detail

#if !defined(__clang__)
#pragma GCC diagnostic pop
#endif
#endif
