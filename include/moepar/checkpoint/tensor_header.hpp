// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <numeric>
#include <optional>
#include <source_location>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moepar/checkpoint/json_scanner.hpp>
#include <moepar/checkpoint/json_string.hpp>
#include <moepar/checkpoint/tensor_type.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/utf8.hpp>

namespace moepar {

//! A tensor of a safetensors file: its elements, row-major, are the bytes [begin, end) of the data.
struct TensorInfo {
  std::string name;
  TensorType type = TensorType::F32;
  std::vector<std::uint64_t> shape;  //!< empty: one element
  std::uint64_t begin = 0, end = 0;

  [[nodiscard]] constexpr Index bytes() const { return static_cast<Index>(end - begin); }
  //! Elements; types of less than a byte fill whole bytes.
  [[nodiscard]] constexpr Index elements() const {
    return bytes() / bits_of(type) * 8 + bytes() % bits_of(type) * 8 / bits_of(type);
  }
  bool operator==(const TensorInfo&) const = default;
};

//! What a file says about itself, in pairs of texts, e.g. {"format", "pt"}.
using TensorMetadata = std::vector<std::pair<std::string, std::string>>;

//! The header of a safetensors file: its tensors in the order of their bytes, without holes from 0 to the end of the
//! file, of which byte `data_begin` is byte 0 of the data. Names are distinct.
struct TensorHeader {
  TensorMetadata metadata;
  std::vector<TensorInfo> tensors;
  std::uint64_t data_begin = 0;

  //! Bytes of the whole file.
  [[nodiscard]] constexpr std::uint64_t file_size() const {
    return data_begin + (tensors.empty() ? 0 : tensors.back().end);
  }
  bool operator==(const TensorHeader&) const = default;
};

//! What is wrong with a header, by the names that the reference reader (huggingface/safetensors) gives it.
enum class HeaderError {
  HeaderTooSmall,                ///< no room for the length of the header
  HeaderTooLarge,                ///< a header above 100,000,000 bytes
  InvalidHeaderLength,           ///< a header that the file is too short for
  InvalidHeader,                 ///< not UTF-8
  InvalidHeaderDeserialization,  ///< not JSON, or not of the form that a header has
  InvalidOffset,                 ///< tensors overlap, leave a hole or end before they begin
  ValidationOverflow,            ///< a shape of more bits than 64 bits count
  MisalignedSlice,               ///< a tensor of less than whole bytes
  TensorInvalidInfo,             ///< a range of bytes that is not what type and shape need
  MetadataIncompleteBuffer,      ///< bytes missing or left over behind the last tensor
};

constexpr std::string_view name_of(HeaderError error) {
  constexpr std::array<std::string_view, 10> names{"HeaderTooSmall",
                                                   "HeaderTooLarge",
                                                   "InvalidHeaderLength",
                                                   "InvalidHeader",
                                                   "InvalidHeaderDeserialization",
                                                   "InvalidOffset",
                                                   "ValidationOverflow",
                                                   "MisalignedSlice",
                                                   "TensorInvalidInfo",
                                                   "MetadataIncompleteBuffer"};
  return names[static_cast<std::size_t>(error)];
}

//! Thrown for a file that is no valid safetensors file.
class TensorHeaderError : public Error {
 public:
  TensorHeaderError(HeaderError error, std::string_view file, const std::string& problem,
                    std::source_location where = std::source_location::current())
      : Error{"moepar: '" + std::string{file} + "' is no valid safetensors file (" + std::string{name_of(error)} +
                  "): " + problem + ". Fix: get the file again, or write it with a safetensors library.",
              where},
        error_{error} {}

  [[nodiscard]] HeaderError error() const noexcept { return error_; }

 private:
  HeaderError error_;
};

//! The longest header that readers accept, without the 8 bytes of its length.
inline constexpr std::uint64_t largest_tensor_header = 100'000'000;

namespace detail {

//! The bytes that `shape` of `type` needs, or the reason why there is no such number.
struct TensorBytes {
  std::uint64_t bytes = 0;
  std::optional<HeaderError> problem{};
};

constexpr TensorBytes tensor_bytes(TensorType type, const std::vector<std::uint64_t>& shape) {
  std::uint64_t bits = 1;
  const auto multiply = [&](std::uint64_t factor) {
    if (factor != 0 && bits > UINT64_MAX / factor) return false;
    bits *= factor;
    return true;
  };
  for (const std::uint64_t size : shape)
    if (!multiply(size)) return {0, HeaderError::ValidationOverflow};
  if (!multiply(static_cast<std::uint64_t>(bits_of(type)))) return {0, HeaderError::ValidationOverflow};
  if (bits % 8 != 0) return {0, HeaderError::MisalignedSlice};
  return {bits / 8, std::nullopt};
}

inline std::string shown_shape(const std::vector<std::uint64_t>& shape) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size() && i < 8; ++i) text += (i == 0 ? "" : ", ") + std::to_string(shape[i]);
  return text + (shape.size() > 8 ? ", ...]" : "]");
}

//! The name that stands twice in `items`, each of which has a name by `name_of_item`; nullptr if none does.
template <class Item, class Name>
const std::string* repeated_name(const std::vector<Item>& items, const Name& name_of_item) {
  std::vector<const std::string*> names;
  names.reserve(items.size());
  for (const Item& item : items) names.push_back(&name_of_item(item));
  const auto less = [](const std::string* a, const std::string* b) { return *a < *b; };
  std::sort(names.begin(), names.end(), less);
  const auto same = [](const std::string* a, const std::string* b) { return *a == *b; };
  const auto found = std::adjacent_find(names.begin(), names.end(), same);
  return found == names.end() ? nullptr : *found;
}

inline const std::string* repeated_name(const TensorHeader& header) {
  const auto key = [](const auto& pair) -> const std::string& { return pair.first; };
  const auto name = [](const TensorInfo& tensor) -> const std::string& { return tensor.name; };
  const std::string* const repeated = repeated_name(header.metadata, key);
  return repeated != nullptr ? repeated : repeated_name(header.tensors, name);
}

//! {"dtype":"F32","shape":[2,3],"data_offsets":[0,24]}, the keys in any order, others skipped.
inline TensorInfo scan_tensor(JsonScanner& json, std::string name) {
  TensorInfo tensor{.name = std::move(name), .type = {}, .shape = {}};
  bool typed = false, shaped = false, placed = false;
  const auto once = [&](bool& seen) {
    if (seen) json.refuse("\"" + json.string() + "\" stands twice before this");
    seen = true;
  };
  json.take(JsonToken::object_begin, "an object with dtype, shape and data_offsets");
  while (json.next_key()) {
    if (json.string() == "dtype") {
      once(typed);
      const std::optional<TensorType> type = tensor_type(json.take_string("a dtype"));
      if (!type) json.refuse("the dtype " + shown_name(json.string()) + " before this is not one of the format");
      tensor.type = *type;
    } else if (json.string() == "shape") {
      once(shaped);
      json.take(JsonToken::array_begin, "an array of sizes");
      while (json.next_element()) tensor.shape.push_back(json.take_unsigned("a size from 0 to 2^64 - 1"));
    } else if (json.string() == "data_offsets") {
      once(placed);
      json.take(JsonToken::array_begin, "an array of two offsets");
      tensor.begin = json.take_unsigned("an offset from 0 to 2^64 - 1");
      tensor.end = json.take_unsigned("an offset from 0 to 2^64 - 1");
      json.take(JsonToken::array_end, "the end of two offsets");
    } else {
      json.skip_value();
    }
  }
  if (!typed || !shaped || !placed)
    json.refuse(std::string{!typed ? "dtype" : !shaped ? "shape" : "data_offsets"} + " is missing before this");
  return tensor;
}

//! {"name":"text",...}; null counts as empty, as in the reference reader.
inline TensorMetadata scan_metadata(JsonScanner& json) {
  TensorMetadata metadata;
  const JsonToken token = json.next();
  if (token == JsonToken::null) return metadata;
  if (token != JsonToken::object_begin) json.refuse("__metadata__ before this must be an object of strings");
  while (json.next_key()) {
    std::string key = json.string();
    metadata.emplace_back(std::move(key), json.take_string("a string, as all metadata is,"));
  }
  return metadata;
}

//! The JSON of a header as it stands: ranges not checked yet, tensors in the order of the text.
inline TensorHeader scan_tensor_header(std::string_view text, std::string_view file) {
  TensorHeader header;
  std::string inside;  // the tensor that the scanner is in
  const auto refuse = [&](const std::string& problem) {
    throw TensorHeaderError{HeaderError::InvalidHeaderDeserialization, file, inside + problem};
  };
  try {
    JsonScanner json{text};
    bool described = false;
    json.take(JsonToken::object_begin, "an object");
    while (json.next_key()) {
      if (json.string() == "__metadata__") {
        if (described) json.refuse("__metadata__ stands twice before this");
        described = true;
        header.metadata = scan_metadata(json);
      } else {
        inside = "tensor " + shown_name(json.string()) + ": ";
        header.tensors.push_back(scan_tensor(json, json.string()));
        inside.clear();
      }
    }
    json.next();  // refuses what follows
  } catch (const JsonError& error) {
    refuse("the JSON of the header, " + error.problem());
  }
  if (const std::string* const name = repeated_name(header)) refuse("the name " + shown_name(*name) + " stands twice");
  return header;
}

//! Checks and sorts the ranges of tensors as they are in a file of `data_size` bytes of data.
inline void check_ranges(TensorHeader& header, std::uint64_t data_size, std::string_view file) {
  // Empty tensors at one place keep the order of the text, so that writing the header again changes nothing. By hand,
  // since clang 19 calls what std::stable_sort of g++ 12's library uses deprecated.
  std::vector<std::size_t> order(header.tensors.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t i, std::size_t j) {
    const TensorInfo &a = header.tensors[i], &b = header.tensors[j];
    return a.begin != b.begin ? a.begin < b.begin : a.end != b.end ? a.end < b.end : i < j;
  });
  std::vector<TensorInfo> sorted;
  sorted.reserve(order.size());
  for (const std::size_t i : order) sorted.push_back(std::move(header.tensors[i]));
  header.tensors = std::move(sorted);
  std::uint64_t at = 0;
  for (const TensorInfo& tensor : header.tensors) {
    const auto refuse = [&](HeaderError error, const std::string& problem) {
      throw TensorHeaderError{error, file,
                              "tensor " + shown_name(tensor.name) + " of type " + std::string{name_of(tensor.type)} +
                                  " and shape " + shown_shape(tensor.shape) + " at bytes " +
                                  std::to_string(tensor.begin) + " to " + std::to_string(tensor.end) + " " + problem};
    };
    if (tensor.begin != at)
      refuse(HeaderError::InvalidOffset, "must begin at byte " + std::to_string(at) + ", where the one before ends");
    if (tensor.end < tensor.begin) refuse(HeaderError::InvalidOffset, "ends before it begins");
    at = tensor.end;
    const TensorBytes need = tensor_bytes(tensor.type, tensor.shape);
    if (need.problem == HeaderError::ValidationOverflow) refuse(*need.problem, "has more than 2^64 - 1 bits");
    if (need.problem == HeaderError::MisalignedSlice) refuse(*need.problem, "does not fill whole bytes");
    if (tensor.end - tensor.begin != need.bytes)
      refuse(HeaderError::TensorInvalidInfo, "needs " + std::to_string(need.bytes) + " bytes");
  }
  if (at != data_size)
    throw TensorHeaderError{
        HeaderError::MetadataIncompleteBuffer, file,
        "its tensors have " + std::to_string(at) + " bytes, behind its header are " + std::to_string(data_size)};
}

}  // namespace detail

//! The byte at which the data of a file begins, from its first 8 bytes (fewer where the file has fewer) and its size;
//! what lies before it is the argument of parse_tensor_header. `file` is its name in errors. Throws TensorHeaderError.
[[nodiscard]] inline std::uint64_t tensor_header_end(std::string_view first_bytes, std::uint64_t file_size,
                                                     std::string_view file) {
  if (file_size < 8 || first_bytes.size() < 8)
    throw TensorHeaderError{HeaderError::HeaderTooSmall, file,
                            "it has " + std::to_string(file_size) + " bytes, its header alone needs 8 or more"};
  std::uint64_t length = 0;
  for (std::size_t i = 8; i-- > 0;) length = length << 8 | static_cast<unsigned char>(first_bytes[i]);
  const auto refuse = [&](HeaderError error, const std::string& problem) {
    throw TensorHeaderError{error, file, "its header has " + std::to_string(length) + " bytes, " + problem};
  };
  if (length > largest_tensor_header)
    refuse(HeaderError::HeaderTooLarge, "the most is " + std::to_string(largest_tensor_header));
  if (length > file_size - 8)
    refuse(HeaderError::InvalidHeaderLength, "behind its length the file has " + std::to_string(file_size - 8));
  return 8 + length;
}

//! Reads the header of a file of `file_size` bytes out of `first_bytes`, the file up to tensor_header_end() or longer.
//! Strict where the reference reader is, checks in its order, and refuses names that stand twice, too. Needs memory in
//! proportion to the header only, whatever it says. Throws TensorHeaderError.
[[nodiscard]] inline TensorHeader parse_tensor_header(std::string_view first_bytes, std::uint64_t file_size,
                                                      std::string_view file = "a file") {
  const std::uint64_t end = tensor_header_end(first_bytes, file_size, file);
  if (first_bytes.size() < end)
    throw Error{"moepar::parse_tensor_header: " + std::to_string(first_bytes.size()) + " bytes of '" +
                std::string{file} + "' were given, its header ends at byte " + std::to_string(end) +
                ". Fix: give the bytes up to tensor_header_end()."};
  const std::string_view text = first_bytes.substr(8, static_cast<std::size_t>(end) - 8);
  if (const std::size_t at = detail::utf8_error(text); at != std::string_view::npos)
    throw TensorHeaderError{HeaderError::InvalidHeader, file,
                            "byte " + std::to_string(at) + " of its header is not UTF-8"};
  TensorHeader header = detail::scan_tensor_header(text, file);
  header.data_begin = end;
  detail::check_ranges(header, file_size - end, file);
  return header;
}

}  // namespace moepar
