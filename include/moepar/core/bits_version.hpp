// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>

namespace moepar {

//! Raised by every change that gives a training other bits. Part of the numerical contract (docs/bits.md).
inline constexpr Index bits_version = 1;

}  // namespace moepar
