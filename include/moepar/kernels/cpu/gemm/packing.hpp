// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstring>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>

namespace moepar::cpu::detail {

//! Copies matrix rows, one a step, into panels of Width columns: panels[p * panel_size + step * Width + c] =
//! source[step * stride + p * Width + c], the columns that the last panel lacks as zeros.
template <class Element, Index Width> struct PackColumns {
  static constexpr Index line = 64 / static_cast<Index>(sizeof(Element));
  static constexpr Index ahead = 8;  // rows; processors do not foresee the jump from one row to the next

  static void run_all(Index steps, Index columns, const Element* source, Index stride, Element* panels,
                      Index panel_size) {
    dispatch<PackColumns>(steps, columns, source, stride, panels, panel_size);
  }

  [[gnu::always_inline]] static inline void run(Index steps, Index columns, const Element* source, Index stride,
                                                Element* panels, Index panel_size) {
    const Index whole = columns / Width, rest = columns % Width;
    for (Index step = 0; step < steps; ++step, source += stride, panels += Width) {
      if (step + ahead < steps)
        for (Index c = 0; c < columns; c += line) __builtin_prefetch(source + ahead * stride + c);
      for (Index panel = 0; panel < whole; ++panel)
        std::memcpy(panels + panel * panel_size, source + panel * Width,
                    sizeof(Element) * static_cast<std::size_t>(Width));
      if (rest == 0) continue;
      for (Index c = 0; c < Width; ++c)
        panels[whole * panel_size + c] = c < rest ? source[whole * Width + c] : Element{0};
    }
  }
};

}  // namespace moepar::cpu::detail
