// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace moepar {

//! Element types of a training. f32: everything in 32 bits. bf16: weights and activations in bfloat16 beside a 32-bit
//! master copy; sums, gradients and optimizer stay in 32 bits.
enum class Precision { f32, bf16 };

}  // namespace moepar
