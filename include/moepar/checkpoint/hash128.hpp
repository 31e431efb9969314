// SPDX-License-Identifier: Apache-2.0
#pragma once
// Included by name: it needs xxHash (Debian: libxxhash-dev), of which only the header is used.
#ifndef XXH_INLINE_ALL
#define XXH_INLINE_ALL
#endif
#include <xxhash.h>

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace moepar {

//! A hash of bytes by XXH3 in 128 bits, seed 0: finds every accident, is no defence against forgery.
struct Hash128 {
  std::uint64_t high = 0;
  std::uint64_t low = 0;
  friend bool operator==(const Hash128&, const Hash128&) = default;
};

//! 32 lower-case hexadecimal digits, as `xxhsum -H2` prints them.
inline std::string text_of(const Hash128& hash) {
  std::string text(32, '0');
  for (std::size_t i = 0; i < 32; ++i) {
    const std::uint64_t word = i < 16 ? hash.high : hash.low;
    text[i] = "0123456789abcdef"[word >> (60 - 4 * (i % 16)) & 15];
  }
  return text;
}

//! The reverse of text_of; nothing for any other text.
inline std::optional<Hash128> hash_of_text(std::string_view text) {
  if (text.size() != 32) return {};
  Hash128 hash;
  for (std::size_t i = 0; i < 32; ++i) {
    const std::size_t digit = std::string_view{"0123456789abcdef"}.find(text[i]);
    if (digit == std::string_view::npos) return {};
    std::uint64_t& word = i < 16 ? hash.high : hash.low;
    word = word << 4 | digit;
  }
  return hash;
}

//! Hash of bytes that come piece by piece.
class Hasher128 {
 public:
  Hasher128() { XXH3_128bits_reset(&state_); }
  void add(std::span<const std::byte> bytes) { XXH3_128bits_update(&state_, bytes.data(), bytes.size()); }
  //! Of all bytes so far.
  [[nodiscard]] Hash128 hash() const {
    const XXH128_hash_t hash = XXH3_128bits_digest(&state_);
    return {hash.high64, hash.low64};
  }

 private:
  XXH3_state_t state_;
};

inline Hash128 hash128(std::span<const std::byte> bytes) {
  const XXH128_hash_t hash = XXH3_128bits(bytes.data(), bytes.size());
  return {hash.high64, hash.low64};
}
inline Hash128 hash128(std::string_view text) { return hash128(std::as_bytes(std::span{text})); }

}  // namespace moepar
