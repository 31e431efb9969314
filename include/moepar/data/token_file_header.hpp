// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <moepar/core/error.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/index.hpp>

namespace moepar {

//! What the first 64 bytes of a token file say. All numbers are little-endian:
//!
//!   0..15   "moepar tokens", then three zero bytes
//!   16..19  version, 1             20..23  bytes of a token, 2 or 4
//!   24..31  tokens of a block      32..39  blocks
//!   40..47  vocabulary             48..55  flags: 1, attention is all ones and labels are the ids
//!   56..63  hash: FNV-1a over the tokens, continued over bytes 0..55
//!
//! The tokens follow, block after block, up to the end of the file.
struct TokenFileHeader {
  static constexpr Index bytes = 64;
  static constexpr std::uint32_t version = 1;

  Index length = 0;      //!< tokens of a block, at least 1
  Index count = 0;       //!< blocks
  Index vocabulary = 0;  //!< every token is below it; 1..2^31
  Index width = 2;       //!< bytes of a token: 2 up to a vocabulary of 2^16, else 4
  std::uint64_t hash = 0;

  [[nodiscard]] constexpr Index block_bytes() const { return length * width; }
  [[nodiscard]] constexpr Index file_bytes() const { return bytes + count * block_bytes(); }
};

//! The narrowest element that holds tokens of this vocabulary.
[[nodiscard]] constexpr Index token_width(Index vocabulary) { return vocabulary <= Index{1} << 16 ? 2 : 4; }

namespace detail {

inline constexpr std::string_view token_file_magic{"moepar tokens\0\0\0", 16};
inline constexpr std::size_t hashed_header_bytes = 56;

//! What an FNV-1a of no byte is.
inline constexpr std::uint64_t empty_hash = fnv1a("");

inline void append_little_endian(std::string& bytes, std::uint64_t value, Index width) {
  for (Index i = 0; i < width; ++i) bytes += static_cast<char>(static_cast<unsigned char>(value >> (8 * i)));
}

constexpr std::uint64_t little_endian(std::string_view bytes) {
  std::uint64_t value = 0;
  for (std::size_t i = bytes.size(); i-- > 0;) value = value << 8 | static_cast<unsigned char>(bytes[i]);
  return value;
}

//! The 64 bytes of `header`, whose `hash` is still that of the tokens alone.
inline std::string token_file_header(const TokenFileHeader& header) {
  std::string bytes{token_file_magic};
  append_little_endian(bytes, TokenFileHeader::version, 4);
  append_little_endian(bytes, static_cast<std::uint64_t>(header.width), 4);
  for (const Index number : {header.length, header.count, header.vocabulary, Index{1}})
    append_little_endian(bytes, static_cast<std::uint64_t>(number), 8);
  append_little_endian(bytes, fnv1a(bytes, header.hash), 8);
  return bytes;
}

}  // namespace detail

//! Reads the header in `first`, the first 64 bytes of a file of `file_bytes`, less where it is shorter. The sizes are
//! those of the file when this returns. Throws Error, its sentence starting with `place`, for anything that no writer
//! of this version makes; the hash is not compared, since that takes the whole file.
[[nodiscard]] inline TokenFileHeader read_token_file_header(std::string_view first, Index file_bytes,
                                                            const std::string& place) {
  const auto refuse = [&](const std::string& problem) {
    throw Error{place + " is no token file: " + problem + ". Fix: write the file again."};
  };
  if (first.size() < static_cast<std::size_t>(TokenFileHeader::bytes))
    refuse("it has " + std::to_string(file_bytes) + " bytes and the header alone takes 64");
  if (!first.starts_with(detail::token_file_magic)) refuse("it does not start with 'moepar tokens'");
  const auto number = [&](std::size_t at, std::size_t width) { return detail::little_endian(first.substr(at, width)); };
  if (number(16, 4) != TokenFileHeader::version)
    refuse("its version is " + std::to_string(number(16, 4)) + " and this program reads version 1");
  const std::uint64_t width = number(20, 4), length = number(24, 8), count = number(32, 8), vocabulary = number(40, 8);
  constexpr std::uint64_t largest = std::uint64_t{1} << 31, most = std::uint64_t{1} << 60;
  if (length < 1 || length > largest) refuse("a block of " + std::to_string(length) + " tokens");
  if (vocabulary < 1 || vocabulary > largest) refuse("a vocabulary of " + std::to_string(vocabulary));
  if (width != static_cast<std::uint64_t>(token_width(static_cast<Index>(vocabulary))))
    refuse(std::to_string(width) + " bytes a token for a vocabulary of " + std::to_string(vocabulary));
  if (number(48, 8) != 1) refuse("its flags are " + std::to_string(number(48, 8)) + " and version 1 knows 1 only");
  if (count > most / (length * width)) refuse(std::to_string(count) + " blocks of " + std::to_string(length));
  const TokenFileHeader header{.length = static_cast<Index>(length),
                               .count = static_cast<Index>(count),
                               .vocabulary = static_cast<Index>(vocabulary),
                               .width = static_cast<Index>(width),
                               .hash = number(56, 8)};
  if (header.file_bytes() != file_bytes)
    refuse("its header announces " + std::to_string(header.file_bytes()) + " bytes and it has " +
           std::to_string(file_bytes));
  return header;
}

}  // namespace moepar
