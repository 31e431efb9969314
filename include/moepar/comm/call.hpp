// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <moepar/core/bf16.hpp>
#include <moepar/core/index.hpp>
#include <string>

namespace moepar {

enum class Operation {
  none,
  barrier,
  broadcast,
  all_gather,
  reduce_scatter,
  sum,
  maximum,
  all_to_all,
  all_to_all_v,
  send_receive
};

enum class ElementType { none, bytes, i32, i64, f32, f64, bf16 };

template <class T> inline constexpr ElementType element_type_of = ElementType::none;
template <> inline constexpr ElementType element_type_of<std::byte> = ElementType::bytes;
template <> inline constexpr ElementType element_type_of<std::int32_t> = ElementType::i32;
template <> inline constexpr ElementType element_type_of<std::int64_t> = ElementType::i64;
template <> inline constexpr ElementType element_type_of<float> = ElementType::f32;
template <> inline constexpr ElementType element_type_of<double> = ElementType::f64;
template <> inline constexpr ElementType element_type_of<Bf16> = ElementType::bf16;

//! A type that collectives carry.
template <class T>
concept wire_element = element_type_of<T> != ElementType::none;

//! One collective call as all members of a group must make it: the fingerprint that is compared before data moves.
struct Call {
  Operation operation = Operation::none;
  const char* axis = "";  //!< a literal: the name of the axis, e.g. "expert"
  ElementType element = ElementType::none;
  Index count = 0;     //!< elements, as the operation counts them; the same on every member
  Index root = -1;     //!< of a broadcast; the sender of a send_receive
  Index sequence = 0;  //!< of this communicator, from 1

  //! All but the axis, which the members share by being the same group.
  [[nodiscard]] constexpr bool agrees_with(const Call& other) const {
    return operation == other.operation && element == other.element && count == other.count && root == other.root &&
           sequence == other.sequence;
  }
};

//! "all_gather<shard, f32> of 128, call 7"
inline std::string text(const Call& call) {
  constexpr const char* operations[] = {"no call", "barrier", "broadcast",  "all_gather",   "reduce_scatter",
                                        "sum",     "maximum", "all_to_all", "all_to_all_v", "send_receive"};
  constexpr const char* elements[] = {"", ", bytes", ", i32", ", i64", ", f32", ", f64", ", bf16"};
  if (call.operation == Operation::none) return operations[0];
  std::string out = std::string{operations[static_cast<int>(call.operation)]} + '<' + call.axis +
                    elements[static_cast<int>(call.element)] + '>';
  if (call.element != ElementType::none && call.operation != Operation::all_to_all_v)
    out += " of " + std::to_string(call.count);
  if (call.root >= 0) out += " from " + std::to_string(call.root);
  return out + ", call " + std::to_string(call.sequence);
}

}  // namespace moepar
