// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/train/step_report.hpp>

namespace moepar {

//! How evenly tokens are spread over experts.
struct LoadReport {
  double max_over_mean = not_measured;  //!< of the worst layer; not measured when no layer got a token
  Index dead_experts = 0;               //!< over all layers
  Index worst_layer = 0;                //!< where max_over_mean was found
};

//! `tokens_per_expert` is layers x experts, row-major, counted over all ranks. Throws Error when its size differs or a
//! count is negative.
[[nodiscard]] inline LoadReport load_report(std::span<const std::int64_t> tokens_per_expert, Index layers,
                                            Index experts) {
  const bool fits = layers >= 1 && experts >= 1 && static_cast<Index>(tokens_per_expert.size()) / experts == layers &&
                    static_cast<Index>(tokens_per_expert.size()) % experts == 0;
  if (!fits || std::ranges::min(tokens_per_expert) < 0)
    throw Error{"moepar::load_report: " + std::to_string(tokens_per_expert.size()) + " token counts for " +
                std::to_string(layers) + " layers of " + std::to_string(experts) +
                " experts. Fix: give one count, at least 0, for each expert of each layer."};
  LoadReport report;
  for (Index layer = 0; layer < layers; ++layer) {
    const auto row =
        tokens_per_expert.subspan(static_cast<std::size_t>(layer * experts), static_cast<std::size_t>(experts));
    double total = 0;
    for (const std::int64_t tokens : row) total += static_cast<double>(tokens);
    report.dead_experts += std::ranges::count(row, 0);
    const double ratio = static_cast<double>(std::ranges::max(row)) * static_cast<double>(experts) / total;
    if (total > 0 && !(ratio <= report.max_over_mean)) {  // true for the first layer too: nothing is <= NaN
      report.max_over_mean = ratio;
      report.worst_layer = layer;
    }
  }
  return report;
}

}  // namespace moepar
