// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <moepar/core/error.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/new_file.hpp>
#include <moepar/data/token_file_header.hpp>

namespace moepar {

//! Writes blocks of tokens to a token file (token_file_header.hpp), one after another; memory is one block. The file
//! has its name from finish() on; without it nothing is left.
class TokenFileWriter {
 public:
  //! Blocks have `length` tokens, 1..2^31, each in 0..vocabulary-1 (1..2^31). Throws Error for other sizes, or when the
  //! file cannot be made.
  TokenFileWriter(std::string path, Index length, Index vocabulary)
      : header_{checked(path, length, vocabulary)}, path_{path}, file_{std::move(path), "moepar::TokenFileWriter"} {
    file_.write(std::string(static_cast<std::size_t>(TokenFileHeader::bytes), '\0'));
  }

  //! Throws Error for a block of another length, for a token outside the vocabulary, or when the disk is full.
  void write(std::span<const std::int32_t> block) {
    if (static_cast<Index>(block.size()) != header_.length)
      refuse("a block of " + std::to_string(block.size()) + " tokens came, all have " + std::to_string(header_.length));
    bytes_.clear();
    for (std::size_t place = 0; place < block.size(); ++place) {
      if (block[place] < 0 || block[place] >= header_.vocabulary)
        refuse("token " + std::to_string(block[place]) + " at place " + std::to_string(place) +
               " is outside the vocabulary 0.." + std::to_string(header_.vocabulary - 1));
      detail::append_little_endian(bytes_, static_cast<std::uint32_t>(block[place]), header_.width);
    }
    header_.hash = fnv1a(bytes_, header_.hash);
    file_.write(bytes_);
    ++header_.count;
  }

  //! Gives the file its name; it takes the place of one that has it. The last call.
  void finish() {
    file_.write_first(detail::token_file_header(header_));
    file_.commit();
  }

 private:
  static TokenFileHeader checked(const std::string& path, Index length, Index vocabulary) {
    constexpr Index largest = Index{1} << 31;
    if (length < 1 || length > largest || vocabulary < 1 || vocabulary > largest)
      throw Error{"moepar::TokenFileWriter: '" + path + "': blocks of " + std::to_string(length) +
                  " tokens of a vocabulary of " + std::to_string(vocabulary) +
                  ". Fix: choose both between 1 and 2^31."};
    return {.length = length, .vocabulary = vocabulary, .width = token_width(vocabulary), .hash = detail::empty_hash};
  }

  [[noreturn]] void refuse(const std::string& problem) const {
    throw Error{"moepar::TokenFileWriter: '" + path_ + "', block " + std::to_string(header_.count) + ": " + problem +
                ". Fix: write blocks of one length, of tokens of the vocabulary that was announced."};
  }

  TokenFileHeader header_;
  std::string path_;
  detail::NewFile file_;
  std::string bytes_;
};

}  // namespace moepar
