// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <moepar/core/index.hpp>
#include <moepar/core/row_sum.hpp>
#include <moepar/kernels/cpu/elementary.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/kernels/cpu/spread.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <span>

namespace moepar::cpu {

//! What one step of AdamW needs besides the elements.
struct AdamWStep {
  float learning_rate = 0;
  float beta1 = 0.9f, beta2 = 0.999f;
  float rest1 = 0.1f, rest2 = 0.001f;  //!< 1 - beta, rounded once
  float epsilon = 1e-8f;
  float weight_decay = 0;
  float clip = 1;                          //!< factor of the gradient
  float correction1 = 1, correction2 = 1;  //!< 1 / (1 - beta^step)
};

//! The step from numbers in 64 bits. beta1_power and beta2_power are beta^step, which the caller keeps and multiplies
//! at each step, since pow differs between C libraries.
inline AdamWStep adam_w_step(double learning_rate, double beta1, double beta2, double epsilon, double weight_decay,
                             double clip, double beta1_power, double beta2_power) {
  return {.learning_rate = static_cast<float>(learning_rate),
          .beta1 = static_cast<float>(beta1),
          .beta2 = static_cast<float>(beta2),
          .rest1 = static_cast<float>(1.0 - beta1),
          .rest2 = static_cast<float>(1.0 - beta2),
          .epsilon = static_cast<float>(epsilon),
          .weight_decay = static_cast<float>(weight_decay),
          .clip = static_cast<float>(clip),
          .correction1 = static_cast<float>(1.0 / (1.0 - beta1_power)),
          .correction2 = static_cast<float>(1.0 / (1.0 - beta2_power))};
}

namespace detail {

struct AdamWBody {
  [[gnu::always_inline]] static inline void part(Index count, const AdamWStep& step, float* weights, float* first,
                                                 float* second, const float* gradient) {
    float mean[row_lanes], square[row_lanes], root[row_lanes], weight[row_lanes];
    for (Index i = count; i < row_lanes; ++i) root[i] = 0;
    for (Index i = 0; i < count; ++i) {
      const float g = (gradient[i] + 0.0f) * step.clip;
      mean[i] = std::fma(step.beta1, first[i], step.rest1 * g);
      square[i] = std::fma(step.beta2, second[i], step.rest2 * (g * g));
      root[i] = square[i] * step.correction2;
    }
    take_roots(root);
    for (Index i = 0; i < count; ++i) {
      const float update = mean[i] * step.correction1 / (root[i] + step.epsilon);
      weight[i] = std::fma(-step.learning_rate, std::fma(step.weight_decay, weights[i], update), weights[i]);
    }
    for (Index i = 0; i < count; ++i) weights[i] = weight[i];
    for (Index i = 0; i < count; ++i) first[i] = mean[i];
    for (Index i = 0; i < count; ++i) second[i] = square[i];
  }
  [[gnu::always_inline]] static inline void run(Index count, AdamWStep step, float* weights, float* first,
                                                float* second, const float* gradient) {
    Index i = 0;
    for (; i + row_lanes <= count; i += row_lanes)
      part(row_lanes, step, weights + i, first + i, second + i, gradient + i);
    part(count - i, step, weights + i, first + i, second + i, gradient + i);
  }
};

}  // namespace detail

//! One step of AdamW (decoupled weight decay) on any run of a parameter's elements; the four spans have one length.
//! g = (gradient + 0) * clip; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2;
//! w = w - lr * (wd * w + (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + epsilon))
inline void adam_w(Workers& workers, const AdamWStep& step, std::span<float> weights, std::span<float> first_moment,
                   std::span<float> second_moment, std::span<const float> gradient) {
  detail::spread(workers, static_cast<Index>(weights.size()), 1, [&](Index first, Index last, Index) {
    dispatch<detail::AdamWBody>(last - first, step, weights.data() + first, first_moment.data() + first,
                                second_moment.data() + first, gradient.data() + first);
  });
}

}  // namespace moepar::cpu
