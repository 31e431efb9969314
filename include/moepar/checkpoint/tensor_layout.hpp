// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include <moepar/checkpoint/json_string.hpp>
#include <moepar/checkpoint/tensor_header.hpp>
#include <moepar/checkpoint/tensor_type.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/utf8.hpp>

namespace moepar {

//! A tensor that is to be written.
struct TensorEntry {
  std::string name;
  TensorType type = TensorType::F32;
  std::vector<std::uint64_t> shape;  //!< empty: one element
};

namespace detail {

inline std::string header_json(const TensorHeader& header) {
  std::string json = "{";
  const auto separate = [&] { json += json.back() == '{' ? "" : ","; };
  if (!header.metadata.empty()) {
    json += "\"__metadata__\":{";
    for (const auto& [key, text] : header.metadata) {
      separate();
      append_json_string(json, key);
      json += ':';
      append_json_string(json, text);
    }
    json += '}';
  }
  for (const TensorInfo& tensor : header.tensors) {
    separate();
    append_json_string(json, tensor.name);
    json += ":{\"dtype\":\"" + std::string{name_of(tensor.type)} + "\",\"shape\":[";
    for (std::size_t i = 0; i < tensor.shape.size(); ++i) json += (i == 0 ? "" : ",") + std::to_string(tensor.shape[i]);
    json += "],\"data_offsets\":[" + std::to_string(tensor.begin) + "," + std::to_string(tensor.end) + "]}";
  }
  return json += '}';
}

}  // namespace detail

//! The bytes of a file before its data: those of the reference writer, compact and padded with spaces to a multiple of
//! 8 bytes. header: as lay_out_tensors() makes it, or as read from a file.
[[nodiscard]] inline std::string tensor_header_bytes(const TensorHeader& header) {
  std::string json = detail::header_json(header);
  json.append((8 - json.size() % 8) % 8, ' ');
  std::string bytes;
  for (unsigned shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(json.size() >> shift & 0xff);
  return bytes + json;
}

//! Gives each tensor its place in a file as the reference writer does: larger types first, then by name. Metadata keeps
//! its order. Throws Error for what no reader would take: a name twice, "__metadata__" as a name, a text that is not
//! UTF-8, a shape of too many or not of whole bytes, a header above 100 MB.
[[nodiscard]] inline TensorHeader lay_out_tensors(const std::vector<TensorEntry>& entries,
                                                  TensorMetadata metadata = {}) {
  const auto refuse = [](const std::string& problem, const std::string& fix) {
    throw Error{"moepar: a safetensors file cannot be laid out: " + problem + ". Fix: " + fix + "."};
  };
  const auto require_utf8 = [&](const std::string& text) {
    if (detail::utf8_error(text) != std::string::npos)
      refuse("a name or a text of its metadata is not UTF-8", "use UTF-8");
  };
  TensorHeader header{.metadata = std::move(metadata), .tensors = {}};
  for (const auto& [key, text] : header.metadata) require_utf8(key), require_utf8(text);
  for (const TensorEntry& entry : entries) {
    require_utf8(entry.name);
    if (entry.name == "__metadata__") refuse("a tensor has the name \"__metadata__\"", "give it another name");
    header.tensors.push_back({.name = entry.name, .type = entry.type, .shape = entry.shape});
  }
  if (const std::string* const name = detail::repeated_name(header))
    refuse("the name " + detail::shown_name(*name) + " stands twice", "give each tensor a name of its own");
  std::sort(header.tensors.begin(), header.tensors.end(), [](const TensorInfo& a, const TensorInfo& b) {
    return a.type != b.type ? a.type > b.type : a.name < b.name;
  });
  constexpr std::uint64_t most = std::uint64_t{1} << 62;  // an Index with room for the header
  std::uint64_t at = 0;
  for (TensorInfo& tensor : header.tensors) {
    const detail::TensorBytes need = detail::tensor_bytes(tensor.type, tensor.shape);
    if (need.problem || need.bytes > most - at)
      refuse("tensor " + detail::shown_name(tensor.name) + " of type " + std::string{name_of(tensor.type)} +
                 " and shape " + detail::shown_shape(tensor.shape) +
                 (need.problem == HeaderError::MisalignedSlice ? " does not fill whole bytes" : " is too large"),
             "change its shape");
    tensor.begin = at;
    tensor.end = at += need.bytes;
  }
  header.data_begin = tensor_header_bytes(header).size();
  if (header.data_begin - 8 > largest_tensor_header)
    refuse("its header would have " + std::to_string(header.data_begin - 8) + " bytes, the most is " +
               std::to_string(largest_tensor_header),
           "write several files");
  return header;
}

//! The bytes of a file with these tensors before its data.
[[nodiscard]] inline std::string tensor_header_bytes(const std::vector<TensorEntry>& entries,
                                                     TensorMetadata metadata = {}) {
  return tensor_header_bytes(lay_out_tensors(entries, std::move(metadata)));
}

}  // namespace moepar
