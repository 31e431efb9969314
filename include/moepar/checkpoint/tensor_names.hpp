// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <numeric>
#include <string>
#include <string_view>
#include <vector>

#include <moepar/checkpoint/json_string.hpp>
#include <moepar/checkpoint/tensor_header.hpp>
#include <moepar/checkpoint/tensor_type.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>

namespace moepar::detail {

//! Finds the tensors of a header by name. Knows places only, so both may be moved.
class TensorNames {
 public:
  explicit TensorNames(const std::vector<TensorInfo>& tensors) : order_(tensors.size()) {
    std::iota(order_.begin(), order_.end(), std::size_t{0});
    std::sort(order_.begin(), order_.end(),
              [&](std::size_t a, std::size_t b) { return tensors[a].name < tensors[b].name; });
  }

  //! nullptr where there is no such tensor.
  [[nodiscard]] const TensorInfo* find(const std::vector<TensorInfo>& tensors, std::string_view name) const {
    const auto at = std::lower_bound(order_.begin(), order_.end(), name,
                                     [&](std::size_t i, std::string_view text) { return tensors[i].name < text; });
    return at == order_.end() || tensors[*at].name != name ? nullptr : &tensors[*at];
  }

 private:
  std::vector<std::size_t> order_;
};

//! Throws Error unless [first, first + count) lies in [0, size); `units` are elements or bytes.
inline void require_part(const std::string& file, const TensorInfo& tensor, Index first, Index count, Index size,
                         const char* units) {
  if (first >= 0 && count >= 0 && first <= size && count <= size - first) return;
  throw Error{"moepar: " + std::to_string(count) + " " + units + " from " + std::to_string(first) +
              " on were asked of tensor " + shown_name(tensor.name) + " in '" + file + "', which has " +
              std::to_string(size) + ". Fix: stay inside the tensor."};
}

//! The byte of the data at which element `first` of a tensor lies, whose elements are whole bytes.
constexpr Index element_byte(const TensorInfo& tensor, Index first) { return first * (bits_of(tensor.type) / 8); }

}  // namespace moepar::detail
