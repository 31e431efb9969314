// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moepar/checkpoint/json_scanner.hpp>
#include <moepar/checkpoint/json_string.hpp>
#include <moepar/checkpoint/tensor_header.hpp>
#include <moepar/checkpoint/tensor_layout.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/utf8.hpp>

namespace moepar {

//! What a model.safetensors.index.json says: which file of its folder holds which tensor.
struct TensorIndex {
  struct Place {
    std::string tensor, file;
    bool operator==(const Place&) const = default;
  };
  std::optional<std::uint64_t> total_size;  //!< bytes of all tensors as the file says, which nobody checks
  std::vector<Place> places;                //!< by tensor, each once
};

//! Whether `file` may stand in an index: a plain name that leads to a file of the folder itself.
constexpr bool is_tensor_file_name(std::string_view file) {
  constexpr std::string_view suffix = ".safetensors";
  const auto bad = [](char c) { return c == '/' || c == '\\' || static_cast<unsigned char>(c) < 0x20; };
  return file.size() > suffix.size() && file.size() <= 255 && file.ends_with(suffix) && file.front() != '.' &&
         std::none_of(file.begin(), file.end(), bad);
}

//! Reads the text of an index, named `path` in errors: {"metadata":{...},"weight_map":{tensor: file}}, each once, other
//! keys skipped. Throws Error for all else, also a tensor that stands twice and a file name with a folder in it.
[[nodiscard]] inline TensorIndex parse_tensor_index(std::string_view text, std::string_view path = "an index") {
  const auto refuse = [&](const std::string& problem) {
    throw Error{"moepar: '" + std::string{path} + "' is no valid index of safetensors files: " + problem +
                ". Fix: get the file again, or write it as Hugging Face's save_pretrained does."};
  };
  if (const std::size_t at = detail::utf8_error(text); at != std::string_view::npos)
    refuse("byte " + std::to_string(at) + " is not UTF-8");
  TensorIndex index;
  bool described = false, mapped = false;
  try {
    JsonScanner json{text};
    const auto once = [&](bool& seen) {
      if (seen) json.refuse("\"" + json.string() + "\" stands twice before this");
      seen = true;
    };
    json.take(JsonToken::object_begin, "an object");
    while (json.next_key()) {
      if (json.string() == "metadata") {
        once(described);
        json.take(JsonToken::object_begin, "an object");
        while (json.next_key()) {
          if (json.string() != "total_size") {
            json.skip_value();
          } else {
            if (index.total_size) json.refuse("\"total_size\" stands twice before this");
            index.total_size = json.take_unsigned("a number of bytes");
          }
        }
      } else if (json.string() == "weight_map") {
        once(mapped);
        json.take(JsonToken::object_begin, "an object");
        while (json.next_key()) {
          std::string tensor = json.string();
          const std::string& file = json.take_string("the name of a file");
          if (!is_tensor_file_name(file))
            refuse("tensor " + detail::shown_name(tensor) + " is in file " + detail::shown_name(file) +
                   ", which is no plain name of a .safetensors file");
          index.places.push_back({std::move(tensor), file});
        }
      } else {
        json.skip_value();
      }
    }
    json.next();  // refuses what follows
  } catch (const JsonError& error) {
    refuse(error.problem());
  }
  if (!described || !mapped) refuse(std::string{described ? "weight_map" : "metadata"} + " is missing");
  if (index.places.empty()) refuse("its weight_map names no tensor");
  std::sort(index.places.begin(), index.places.end(), [](const auto& a, const auto& b) { return a.tensor < b.tensor; });
  const auto twice = std::adjacent_find(index.places.begin(), index.places.end(),
                                        [](const auto& a, const auto& b) { return a.tensor == b.tensor; });
  if (twice != index.places.end()) refuse("tensor " + detail::shown_name(twice->tensor) + " stands twice");
  return index;
}

//! A file of a model and the tensors in it.
struct TensorShard {
  std::string file;
  std::vector<TensorEntry> entries;
};

//! Spreads tensors over files of at most `max_bytes` bytes of data as Hugging Face does: in the order given, a tensor
//! above the limit in a file of its own. Names are model.safetensors for one file, else
//! model-00001-of-00003.safetensors. Throws Error for a limit below 1 and a shape that no file holds.
[[nodiscard]] inline std::vector<TensorShard> shard_tensors(const std::vector<TensorEntry>& entries, Index max_bytes) {
  if (max_bytes < 1)
    throw Error{"moepar::shard_tensors: max_bytes = " + std::to_string(max_bytes) +
                ". Fix: allow a file at least 1 byte; 5 * 10^9 is usual."};
  const auto limit = static_cast<std::uint64_t>(max_bytes);
  std::vector<TensorShard> shards;
  std::vector<TensorEntry> current;
  std::uint64_t bytes = 0;
  for (const TensorEntry& entry : entries) {
    const detail::TensorBytes need = detail::tensor_bytes(entry.type, entry.shape);
    if (need.problem)
      throw Error{"moepar::shard_tensors: tensor " + detail::shown_name(entry.name) + " has the shape " +
                  detail::shown_shape(entry.shape) + ", which no file can hold. Fix: change its shape."};
    if (need.bytes > limit) {
      shards.push_back({{}, {entry}});
      continue;
    }
    if (need.bytes > limit - bytes) {
      shards.push_back({{}, std::exchange(current, {})});
      bytes = 0;
    }
    current.push_back(entry);
    bytes += need.bytes;
  }
  if (!current.empty() || shards.empty()) shards.push_back({{}, std::move(current)});
  const auto five = [](std::size_t number) {
    const std::string digits = std::to_string(number);
    return std::string(digits.size() < 5 ? 5 - digits.size() : 0, '0') + digits;
  };
  for (std::size_t i = 0; i < shards.size(); ++i)
    shards[i].file = shards.size() == 1 ? "model.safetensors"
                                        : "model-" + five(i + 1) + "-of-" + five(shards.size()) + ".safetensors";
  return shards;
}

//! The text of the model.safetensors.index.json of these files, byte for byte as transformers writes it.
[[nodiscard]] inline std::string tensor_index_json(const std::vector<TensorShard>& shards) {
  std::vector<std::pair<std::string_view, std::string_view>> places;
  std::uint64_t bytes = 0, parameters = 0;
  for (const TensorShard& shard : shards)
    for (const TensorEntry& entry : shard.entries) {
      places.emplace_back(entry.name, shard.file);
      const std::uint64_t size = detail::tensor_bytes(entry.type, entry.shape).bytes;
      bytes += size;
      parameters += size * 8 / static_cast<std::uint64_t>(bits_of(entry.type));
    }
  std::sort(places.begin(), places.end());
  std::string json = "{\n  \"metadata\": {\n    \"total_parameters\": " + std::to_string(parameters) +
                     ",\n    \"total_size\": " + std::to_string(bytes) + "\n  },\n  \"weight_map\": {";
  for (const auto& [tensor, file] : places) {
    json += json.back() == '{' ? "\n    " : ",\n    ";
    append_json_string(json, tensor, JsonEscapes::ascii);
    json += ": ";
    append_json_string(json, file, JsonEscapes::ascii);
  }
  return json += places.empty() ? "}\n}\n" : "\n  }\n}\n";
}

}  // namespace moepar
