// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include <moepar/core/bf16.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>

namespace moepar {

//! Element types of safetensors under their own names and in their own order, which a writer sorts by (last first).
// clang-format off
enum class TensorType : std::uint8_t {
  BOOL, F4, F6_E2M3, F6_E3M2, U8, I8, F8_E5M2, F8_E4M3, F8_E8M0, F8_E4M3FNUZ, F8_E5M2FNUZ,
  I16, U16, F16, BF16, I32, U32, F32, C64, F64, I64, U64,
};

namespace detail {

inline constexpr std::array<std::string_view, 22> tensor_type_names{
    "BOOL", "F4", "F6_E2M3", "F6_E3M2", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0", "F8_E4M3FNUZ", "F8_E5M2FNUZ",
    "I16", "U16", "F16", "BF16", "I32", "U32", "F32", "C64", "F64", "I64", "U64"};
inline constexpr std::array<std::uint8_t, 22> tensor_type_bits{
    8, 4, 6, 6, 8, 8, 8, 8, 8, 8, 8,
    16, 16, 16, 16, 32, 32, 32, 64, 64, 64, 64};
// clang-format on

}  // namespace detail

//! As files spell it, e.g. "BF16".
constexpr std::string_view name_of(TensorType type) {
  return detail::tensor_type_names[static_cast<std::size_t>(type)];
}

//! Bits of an element; those of F4 and F6 lie packed.
constexpr Index bits_of(TensorType type) { return detail::tensor_type_bits[static_cast<std::size_t>(type)]; }

//! The type that files spell `name`.
constexpr std::optional<TensorType> tensor_type(std::string_view name) {
  for (std::size_t i = 0; i < detail::tensor_type_names.size(); ++i)
    if (detail::tensor_type_names[i] == name) return static_cast<TensorType>(i);
  return std::nullopt;
}

//! Whether to_floats() reads it.
constexpr bool is_readable(TensorType type) {
  return type == TensorType::F32 || type == TensorType::BF16 || type == TensorType::F16 || type == TensorType::F64;
}

//! Whether from_floats() writes it.
constexpr bool is_writable(TensorType type) {
  return type == TensorType::F32 || type == TensorType::BF16 || type == TensorType::F16;
}

namespace detail {

//! An IEEE format: one sign bit, then these.
struct FloatFormat {
  int exponent, mantissa;
  [[nodiscard]] constexpr std::uint64_t infinity() const { return ((1ull << exponent) - 1) << mantissa; }
  [[nodiscard]] constexpr int bias() const { return (1 << (exponent - 1)) - 1; }
  [[nodiscard]] constexpr int sign_bit() const { return exponent + mantissa; }
};

inline constexpr FloatFormat f16_format{5, 10}, bf16_format{8, 7}, f32_format{8, 23}, f64_format{11, 52};

//! The bits `value` of one format in a narrower one: to nearest, ties to even, subnormals kept, too large becomes
//! infinite, a NaN stays one (quiet, its upper payload kept). In integers, so that no rounding or flush mode matters.
constexpr std::uint64_t narrowed(std::uint64_t value, FloatFormat from, FloatFormat to) {
  const std::uint64_t sign = value >> from.sign_bit() & 1;
  const std::uint64_t magnitude = value & ~(1ull << from.sign_bit());
  const std::uint64_t signed_zero = sign << to.sign_bit();
  const int cut = from.mantissa - to.mantissa;
  if (magnitude > from.infinity())
    return signed_zero | to.infinity() | 1ull << (to.mantissa - 1) | ((magnitude & ~from.infinity()) >> cut);
  const int from_exponent = static_cast<int>(magnitude >> from.mantissa);
  const int exponent = (from_exponent == 0 ? 1 : from_exponent) - from.bias() + to.bias();
  const std::uint64_t leading = from_exponent == 0 ? 0 : 1ull << from.mantissa;
  std::uint64_t significand = (magnitude & ((1ull << from.mantissa) - 1)) | leading;
  // Below the smallest normal number of `to`, more bits go; of 64 or more nothing stays, not even a half.
  const int shift = cut + (exponent < 1 ? 1 - exponent : 0);
  if (exponent >= (1 << to.exponent) - 1) return signed_zero | to.infinity();
  if (shift >= 64) return signed_zero;
  const std::uint64_t half = 1ull << (shift - 1), odd = significand >> shift & 1;
  significand = (significand + half - 1 + odd) >> shift;  // a carry out of the mantissa raises the exponent
  const std::uint64_t above = exponent > 1 ? static_cast<std::uint64_t>(exponent - 1) << to.mantissa : 0;
  return signed_zero | (above + significand);
}

//! The float whose value the 16 bits of F16 have; exact.
constexpr float f16_to_float(std::uint16_t half) {
  const std::uint32_t sign = static_cast<std::uint32_t>(half >> 15) << 31, magnitude = half & 0x7fff;
  if (magnitude >= 0x7c00) return std::bit_cast<float>(sign | 0x7f800000 | (magnitude & 0x3ff) << 13);
  if (magnitude >= 0x0400) return std::bit_cast<float>(sign | ((magnitude << 13) + (112u << 23)));
  if (magnitude == 0) return std::bit_cast<float>(sign);
  const int zeros = std::countl_zero(magnitude) - 21;  // what a normal number's leading one is short of
  const std::uint32_t mantissa = magnitude << (zeros + 13) & 0x7fffff;
  return std::bit_cast<float>(sign | static_cast<std::uint32_t>(113 - zeros) << 23 | mantissa);
}

//! The whole number whose bytes, lowest first, lie at `from`, at any address.
template <class Unsigned> inline Unsigned load_little(const std::byte* from) {
  Unsigned value = 0;
  for (std::size_t i = 0; i < sizeof value; ++i)
    value = static_cast<Unsigned>(value | static_cast<Unsigned>(from[i]) << (8 * i));
  return value;
}

template <class Unsigned> inline void store_little(std::byte* to, Unsigned value) {
  for (std::size_t i = 0; i < sizeof value; ++i) to[i] = static_cast<std::byte>(value >> (8 * i) & 0xff);
}

}  // namespace detail

//! Reads elements of `type`, which lie at `from` at any address, as floats: exact but for F64, which is rounded to
//! nearest, ties to even. Throws Error for a type that is not readable.
inline void to_floats(TensorType type, const std::byte* from, std::span<float> to) {
  using detail::load_little;
  switch (type) {
    case TensorType::F32:
      for (float& value : to) value = std::bit_cast<float>(load_little<std::uint32_t>(from)), from += 4;
      return;
    case TensorType::BF16:
      for (float& value : to) value = to_float(Bf16{load_little<std::uint16_t>(from)}), from += 2;
      return;
    case TensorType::F16:
      for (float& value : to) value = detail::f16_to_float(load_little<std::uint16_t>(from)), from += 2;
      return;
    case TensorType::F64:
      for (float& value : to) {
        const auto bits = detail::narrowed(load_little<std::uint64_t>(from), detail::f64_format, detail::f32_format);
        value = std::bit_cast<float>(static_cast<std::uint32_t>(bits));
        from += 8;
      }
      return;
    default:
      throw Error{"moepar: elements of type " + std::string{name_of(type)} +
                  " cannot be read as numbers. Fix: convert the tensor to F32, BF16, F16 or F64."};
  }
}

//! Writes floats as elements of `type` to `to`, at any address: to nearest, ties to even. BF16 keeps subnormals, other
//! than to_bf16(), so that what a file holds is written back unchanged. Throws Error for a type that is not writable.
inline void from_floats(TensorType type, std::span<const float> from, std::byte* to) {
  const auto put_halves = [&](detail::FloatFormat format) {
    for (const float value : from) {
      const auto bits = detail::narrowed(std::bit_cast<std::uint32_t>(value), detail::f32_format, format);
      detail::store_little(to, static_cast<std::uint16_t>(bits));
      to += 2;
    }
  };
  switch (type) {
    case TensorType::F32:
      for (const float value : from) detail::store_little(to, std::bit_cast<std::uint32_t>(value)), to += 4;
      return;
    case TensorType::BF16:
      return put_halves(detail::bf16_format);
    case TensorType::F16:
      return put_halves(detail::f16_format);
    default:
      throw Error{"moepar: floats cannot be written as elements of type " + std::string{name_of(type)} +
                  ". Fix: use F32, BF16 or F16."};
  }
}

}  // namespace moepar
