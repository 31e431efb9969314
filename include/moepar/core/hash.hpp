// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <bit>
#include <cstdint>
#include <span>
#include <string_view>

#include <moepar/core/index.hpp>

namespace moepar {

//! Mixes 64 bits so that every input bit reaches every output bit: the finaliser of splitmix64 (Steele, Lea, Flood:
//! Fast splittable pseudorandom number generators, 2014). A bijection; 0 stays 0.
constexpr std::uint64_t mix(std::uint64_t value) {
  value = (value ^ value >> 30) * 0xbf58476d1ce4e5b9;
  value = (value ^ value >> 27) * 0x94d049bb133111eb;
  return value ^ value >> 31;
}

//! FNV-1a in 64 bits over the bytes of `text`. `start` continues an earlier hash: fnv1a("ab") == fnv1a("b",
//! fnv1a("a")).
constexpr std::uint64_t fnv1a(std::string_view text, std::uint64_t start = 0xcbf29ce484222325) {
  for (const char character : text) start = (start ^ static_cast<unsigned char>(character)) * 0x100000001b3;
  return start;
}

//! The bits of a value as the tensor hash sees them. Every NaN counts as the same one, since IEEE 754 leaves payloads
//! to the machine; +0 and -0 differ.
constexpr std::uint64_t hashed_bits(float value) {
  return value != value ? 0x7fc00000 : std::bit_cast<std::uint32_t>(value);
}
constexpr std::uint64_t hashed_bits(double value) {
  return value != value ? 0x7ff8000000000000 : std::bit_cast<std::uint64_t>(value);
}

//! What one element adds to the hash of the tensor `name`; `name_hash` is fnv1a(name), `index` the global flat index.
template <class Value> constexpr std::uint64_t element_hash(std::uint64_t name_hash, Index index, Value value) {
  return mix(mix(name_hash + static_cast<std::uint64_t>(index)) ^ hashed_bits(value));
}

//! Hash of the elements [first, first + values.size()) of the tensor `name`, as a sum that wraps: the hash of a tensor
//! is the sum over its slices, whoever holds them, and the hash of a model the sum over its tensors. One integer sum
//! over the ranks therefore says whether two runs hold the same bits. Not a defence against forgery.
template <class Value>
constexpr std::uint64_t tensor_hash(std::string_view name, Index first, std::span<const Value> values) {
  const std::uint64_t name_hash = fnv1a(name);
  std::uint64_t sum = 0;
  for (const Value& value : values) sum += element_hash(name_hash, first++, value);
  return sum;
}

}  // namespace moepar
