// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <charconv>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <moepar/core/index.hpp>

namespace moepar::detail {

//! The parts of PREFIX.block_sparse_moe.experts.EXPERT.MATRIX.weight, the classic name of a matrix of an expert.
struct ExpertName {
  std::string_view prefix;  //!< with its last dot, e.g. "model.layers.0."
  Index expert;
  char matrix;  //!< 1 gate, 2 down, 3 up, as in w1, w2, w3: '1', '2' or '3'

  [[nodiscard]] std::string fused(std::string_view tensor) const {
    return std::string{prefix} + "mlp.experts." + std::string{tensor};
  }
};

//! Nothing for names of another form.
inline std::optional<ExpertName> expert_name(std::string_view name) {
  constexpr std::string_view middle = "block_sparse_moe.experts.";
  const std::size_t at = name.find(middle);
  if (at == std::string_view::npos) return std::nullopt;
  const std::string_view rest = name.substr(at + middle.size());
  Index expert = 0;
  const auto [end, problem] = std::from_chars(rest.data(), rest.data() + rest.size(), expert);
  const std::string_view matrix = rest.substr(static_cast<std::size_t>(end - rest.data()));
  if (problem != std::errc{} || expert < 0) return std::nullopt;
  if (matrix != ".w1.weight" && matrix != ".w2.weight" && matrix != ".w3.weight") return std::nullopt;
  return ExpertName{name.substr(0, at), expert, matrix[2]};
}

//! The name under which newer checkpoints keep the router of the classic `name`; empty for other names.
inline std::string fused_gate_name(std::string_view name) {
  constexpr std::string_view classic = "block_sparse_moe.gate.weight";
  if (!name.ends_with(classic)) return {};
  return std::string{name.substr(0, name.size() - classic.size())} + "mlp.gate.weight";
}

}  // namespace moepar::detail
