// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <map>
#include <moepar/checkpoint/tensor_file.hpp>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

namespace parity {

//! Values of tensors by name, row-major.
using Tensors = std::map<std::string, std::vector<float>>;

inline std::string read_file(const std::filesystem::path& path) {
  std::ifstream file{path, std::ios::binary};
  if (!file) throw std::runtime_error{"cannot read " + path.string()};
  return {std::istreambuf_iterator<char>{file}, {}};
}

inline nlohmann::json read_json(const std::filesystem::path& path) { return nlohmann::json::parse(read_file(path)); }

//! All tensors of a safetensors file.
inline Tensors read_tensors(const std::filesystem::path& path) {
  const moepar::TensorFileReader file{path.string()};
  Tensors tensors;
  for (const moepar::TensorInfo& tensor : file.header().tensors) {
    auto& values = tensors[tensor.name];
    values.resize(static_cast<std::size_t>(tensor.elements()));
    file.read(tensor, 0, values);
  }
  return tensors;
}

//! Takes a tensor out of `tensors`.
inline std::vector<float> take(Tensors& tensors, const std::string& name) {
  auto values = tensors.extract(name);
  if (values.empty()) throw std::runtime_error{"there is no tensor " + name};
  return values.mapped();
}

//! Rows [begin, end) of a matrix of `columns` columns.
inline std::vector<float> rows_of(const std::vector<float>& matrix, std::size_t columns, std::size_t begin,
                                  std::size_t end) {
  const auto at = [&](std::size_t row) { return matrix.begin() + static_cast<std::ptrdiff_t>(row * columns); };
  return {at(begin), at(end)};
}

//! Renames the stacked experts of newer checkpoints to one tensor an expert: `gate_up_proj` holds w1 above w3.
inline Tensors classic_names(Tensors tensors, std::size_t layers, std::size_t experts, std::size_t hidden,
                             std::size_t intermediate) {
  for (std::size_t layer = 0; layer < layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer);
    const std::string from = prefix + ".mlp.", to = prefix + ".block_sparse_moe.";
    tensors[to + "gate.weight"] = take(tensors, from + "gate.weight");
    const auto gate_up = take(tensors, from + "experts.gate_up_proj"), down = take(tensors, from + "experts.down_proj");
    for (std::size_t e = 0; e < experts; ++e) {
      const std::string expert = to + "experts." + std::to_string(e);
      tensors[expert + ".w1.weight"] = rows_of(gate_up, hidden, 2 * e * intermediate, (2 * e + 1) * intermediate);
      tensors[expert + ".w3.weight"] = rows_of(gate_up, hidden, (2 * e + 1) * intermediate, (2 * e + 2) * intermediate);
      tensors[expert + ".w2.weight"] = rows_of(down, intermediate, e * hidden, (e + 1) * hidden);
    }
  }
  return tensors;
}

}  // namespace parity
