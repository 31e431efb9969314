// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cmath>
#include <moepar/core/exponential.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/logarithm.hpp>
#include <moepar/core/row_sum.hpp>
#include <moepar/core/sine_cosine.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/kernels/cpu/spread.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/row_groups.hpp>

namespace moepar::cpu {

//! Cosine and sine of position * theta^(-2i / head_size), i < head_size / 2. Both: positions x head_size / 2.
inline void rotary_table(Index positions, Index head_size, double theta, Matrix<float> cosine, Matrix<float> sine) {
  for (Index i = 0; i < head_size / 2; ++i) {
    const double exponent = -2.0 * static_cast<double>(i) / static_cast<double>(head_size);
    const float frequency = static_cast<float>(exp64(exponent * log64(theta)));
    for (Index position = 0; position < positions; ++position) {
      const SineCosine at = sincos64(static_cast<double>(static_cast<float>(position) * frequency));
      cosine.row(position)[i] = static_cast<float>(at.cosine);
      sine.row(position)[i] = static_cast<float>(at.sine);
    }
  }
}

namespace detail {

struct RotateBody {
  //! (a, b) = (a c - b s, b c + a s)
  template <class Element>
  [[gnu::always_inline]] static inline void part(Index count, Element* a, Element* b, const float* cosine,
                                                 const float* sine, Element sign) {
    Element new_a[row_lanes], new_b[row_lanes];
    for (Index i = 0; i < count; ++i) {
      const Element c = static_cast<Element>(cosine[i]), s = sign * static_cast<Element>(sine[i]);
      new_a[i] = std::fma(a[i], c, -(b[i] * s));
      new_b[i] = std::fma(b[i], c, a[i] * s);
    }
    for (Index i = 0; i < count; ++i) a[i] = new_a[i];
    for (Index i = 0; i < count; ++i) b[i] = new_b[i];
  }
  template <class Element>
  [[gnu::always_inline]] static inline void run(Matrix<Element> x, Index position, Index half,
                                                Matrix<const float> cosine, Matrix<const float> sine, Element sign) {
    for (Index t = 0; t < x.rows; ++t) {
      const float *c = cosine.row(position + t), *s = sine.row(position + t);
      for (Element *a = x.row(t), *end = a + x.columns; a < end; a += 2 * half) {
        Index i = 0;
        for (; i + row_lanes <= half; i += row_lanes) part(row_lanes, a + i, a + half + i, c + i, s + i, sign);
        for (; i + row_lanes / 2 <= half; i += row_lanes / 2)
          part(row_lanes / 2, a + i, a + half + i, c + i, s + i, sign);
        part(half - i, a + i, a + half + i, c + i, s + i, sign);
      }
    }
  }
};

}  // namespace detail

//! Turns every head of every row by its position: element i of a head's first half with element i of its second. Row t
//! of granule g has position t - begins[g]. x: rows x heads * head_size, in place; cosine and sine: at least as many
//! positions as the longest granule has rows. `inverse` turns back, which is also the gradient.
template <class Element>
void rotate(Workers& workers, const RowGroups& sequences, Matrix<Element> x, Index head_size,
            Matrix<const float> cosine, Matrix<const float> sine, bool inverse) {
  const Index* const begins = sequences.begins;
  detail::spread(workers, x.rows, x.columns, [&](Index first, Index last, Index) {
    Index granule = std::upper_bound(begins, begins + sequences.granules + 1, first) - begins - 1;
    while (first < last) {
      const Index end = std::min(last, begins[granule + 1]);
      dispatch<detail::RotateBody>(Matrix<Element>{x.row(first), end - first, x.columns}, first - begins[granule],
                                   head_size / 2, cosine, sine, static_cast<Element>(inverse ? -1 : 1));
      first = end;
      ++granule;
    }
  });
}

}  // namespace moepar::cpu
