// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <moepar/checkpoint/checkpoint_facts.hpp>
#include <moepar/checkpoint/hash128.hpp>
#include <moepar/checkpoint/json_string.hpp>
#include <moepar/core/bits_version.hpp>
#include <moepar/core/index.hpp>
#include <moepar/topology/layout.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace moepar {

//! Raised when files of the version before can no longer be read as they are.
inline constexpr Index manifest_version = 1;

//! What of a parameter a tensor of a checkpoint holds.
enum class TensorKind { weight, first_moment, second_moment };
inline constexpr std::array<std::string_view, 3> tensor_kinds{"weight", "first_moment", "second_moment"};

//! `count` elements of a tensor from `first` of its flat index on, f32, in file number `file` from byte `begin` on.
struct ManifestPart {
  Index file = 0;
  Index first = 0;
  Index count = 0;
  Index begin = 0;
  Hash128 hash{};
  friend bool operator==(const ManifestPart&, const ManifestPart&) = default;
};

//! A global tensor and the parts that make it up, in the order of their elements.
struct ManifestTensor {
  std::string name{};
  TensorKind kind = TensorKind::weight;
  Index rows = 1;  //!< 1: a vector of `columns`
  Index columns = 1;
  std::vector<ManifestPart> parts{};
  friend bool operator==(const ManifestTensor&, const ManifestTensor&) = default;
};

//! A part file: what one rank wrote. Parts fill it from header_bytes to its end.
struct ManifestFile {
  std::string name{};
  Index bytes = 0;
  Index header_bytes = 0;
  Hash128 header_hash{};
  friend bool operator==(const ManifestFile&, const ManifestFile&) = default;
};

//! Of the file that `rank` wrote: "rank-00003.safetensors".
inline std::string part_file_name(Index rank) {
  const std::string digits = std::to_string(rank);
  return "rank-" + std::string(5 - std::min<std::size_t>(5, digits.size()), '0') + digits + ".safetensors";
}

//! All that a checkpoint of a training says besides its values. It names every byte of its files by hash.
struct Manifest {
  Index bits = bits_version;  //!< of the library that wrote it
  Index step = 0;             //!< updates made
  Layout layout{};            //!< that wrote it; any other may read it
  double beta1_power = 1;     //!< AdamWState::beta1_power
  double beta2_power = 1;
  Facts facts{};
  std::vector<ManifestFile> files{};
  std::vector<ManifestTensor> tensors{};
  friend bool operator==(const Manifest&, const Manifest&) = default;
};

namespace detail {

//! The shortest digits that read back as the same number.
inline std::string exact_text(double number) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, number).ptr};
}

inline constexpr std::string_view manifest_hash_begin = "\"manifest_xxh3_128\":\"", manifest_hash_end = "\"}\n";

//! Bytes of the manifest's last line.
inline constexpr std::size_t manifest_hash_line = manifest_hash_begin.size() + 32 + manifest_hash_end.size();

}  // namespace detail

//! The one text of a manifest: JSON, a part a line, and in the last line the hash of all lines before.
inline std::string manifest_text(const Manifest& manifest) {
  const Layout& layout = manifest.layout;
  std::string out = "{\"format\":\"moepar-training\",\"version\":";
  const auto number = [&](std::string_view before, Index value) { (out += before) += std::to_string(value); };
  number("", manifest_version);
  number(",\n\"bits_version\":", manifest.bits);
  number(",\n\"step\":", manifest.step);
  number(",\n\"layout\":{\"world\":", layout.world);
  number(",\"tensor\":", layout.tensor);
  number(",\"expert\":", layout.expert);
  number(",\"dense_shard\":", layout.dense_shard);
  number(",\"expert_shard\":", layout.expert_shard);
  out += layout.expert_axis == ExpertAxis::innermost ? ",\"expert_axis\":\"innermost\"}"
                                                     : ",\"expert_axis\":\"outermost\"}";
  out += ",\n\"optimizer\":{\"name\":\"AdamW\",\"beta1_power\":" + detail::exact_text(manifest.beta1_power) +
         ",\"beta2_power\":" + detail::exact_text(manifest.beta2_power) + "},\n\"facts\":{";
  const char* between = "\n";
  for (const auto& [name, text] : manifest.facts) {
    out += between;
    append_json_string(out, name);
    out += ':';
    append_json_string(out, text);
    between = ",\n";
  }
  out += "},\n\"files\":[";
  between = "\n";
  for (const ManifestFile& file : manifest.files) {
    (out += between) += "{\"name\":";
    append_json_string(out, file.name);
    number(",\"bytes\":", file.bytes);
    number(",\"header_bytes\":", file.header_bytes);
    out += ",\"header_xxh3_128\":\"" + text_of(file.header_hash) + "\"}";
    between = ",\n";
  }
  out += "],\n\"tensors\":[";
  between = "\n";
  for (const ManifestTensor& tensor : manifest.tensors) {
    (out += between) += "{\"name\":";
    append_json_string(out, tensor.name);
    ((out += ",\"kind\":\"") += tensor_kinds[static_cast<std::size_t>(tensor.kind)]) += "\",\"shape\":[";
    if (tensor.rows != 1) out += std::to_string(tensor.rows) + ',';
    out += std::to_string(tensor.columns) + "],\"parts\":[";
    const char* part_between = "\n";
    for (const ManifestPart& part : tensor.parts) {
      out += part_between;
      number("{\"file\":", part.file);
      number(",\"first\":", part.first);
      number(",\"count\":", part.count);
      number(",\"begin\":", part.begin);
      out += ",\"xxh3_128\":\"" + text_of(part.hash) + "\"}";
      part_between = ",\n";
    }
    out += "]}";
    between = ",\n";
  }
  out += "],\n";
  const std::string hash = text_of(hash128(out));
  return ((out += detail::manifest_hash_begin) += hash) += detail::manifest_hash_end;
}

}  // namespace moepar
