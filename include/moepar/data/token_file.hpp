// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/text_file.hpp>
#include <moepar/data/token_file_header.hpp>

namespace moepar {

//! Whether the file at `path` starts as one of blocks; false also where it cannot be read.
[[nodiscard]] inline bool is_token_file(const std::string& path) {
  const detail::File file{std::fopen(path.c_str(), "rb")};
  std::string first(detail::token_file_magic.size(), '\0');
  return file && std::fread(first.data(), 1, first.size(), file.get()) == first.size() &&
         first == detail::token_file_magic;
}

//! Blocks of tokens in a file (token_file_header.hpp), read one at a time: memory is one block. Attention of a block is
//! all ones and its labels are its ids. Threads may share one object.
class TokenFile {
 public:
  //! Reads the file once, in pieces. Throws Error when it cannot be read, when its size is not the one that its header
  //! announces, or when the hash says that a byte has changed.
  explicit TokenFile(std::string path) : path_{std::move(path)}, file_{std::fopen(path_.c_str(), "rb")} {
    if (!file_) fail();
    std::setvbuf(file_.get(), nullptr, _IONBF, 0);  // read() asks for blocks
    errno = 0;
    if (std::fseek(file_.get(), 0, SEEK_END) != 0) fail();
    const long size = std::ftell(file_.get());
    if (size < 0) fail();
    std::string first(static_cast<std::size_t>(std::min<long>(size, TokenFileHeader::bytes)), '\0');
    get(0, first);
    header_ = read_token_file_header(first, size, "moepar::TokenFile: '" + path_ + "'");
    check_hash(std::string_view{first}.substr(0, detail::hashed_header_bytes));
  }

  [[nodiscard]] Index length() const { return header_.length; }
  [[nodiscard]] Index size() const { return header_.count; }  //!< blocks
  [[nodiscard]] Index vocabulary() const { return header_.vocabulary; }

  //! The tokens of block `block`, 0..size()-1, into `ids`, length() of them. Throws Error for another block or length,
  //! when the file cannot be read, or for a token outside the vocabulary.
  void read(Index block, std::span<std::int32_t> ids) const {
    if (block < 0 || block >= size() || static_cast<Index>(ids.size()) != length())
      refuse("block " + std::to_string(block) + " of " + std::to_string(size()) + " was asked for, with room for " +
                 std::to_string(ids.size()) + " of " + std::to_string(length()) + " tokens",
             "stay below size() and give length() tokens of room");
    std::string bytes(static_cast<std::size_t>(header_.block_bytes()), '\0');
    get(TokenFileHeader::bytes + block * header_.block_bytes(), bytes);
    const auto width = static_cast<std::size_t>(header_.width);
    for (std::size_t place = 0; place < ids.size(); ++place) {
      const std::uint64_t id = detail::little_endian(std::string_view{bytes}.substr(place * width, width));
      if (id >= static_cast<std::uint64_t>(vocabulary()))
        refuse("token " + std::to_string(id) + " at place " + std::to_string(place) + " of block " +
                   std::to_string(block) + " is outside the vocabulary 0.." + std::to_string(vocabulary() - 1),
               "write the file again");
      ids[place] = static_cast<std::int32_t>(id);
    }
  }

  [[nodiscard]] std::vector<std::int32_t> block(Index block) const {
    std::vector<std::int32_t> ids(static_cast<std::size_t>(length()));
    read(block, ids);
    return ids;
  }

 private:
  void check_hash(std::string_view header) const {
    std::uint64_t hash = detail::empty_hash;
    std::string piece;
    for (Index at = TokenFileHeader::bytes; at < header_.file_bytes(); at += static_cast<Index>(piece.size())) {
      piece.resize(static_cast<std::size_t>(std::min(1_MiB, header_.file_bytes() - at)));
      get(at, piece);
      hash = fnv1a(piece, hash);
    }
    if (fnv1a(header, hash) != header_.hash)
      refuse("its hash is not that of its bytes: it was changed or damaged", "write the file again");
  }

  // Place and reading are one act.
  void get(Index at, std::string& bytes) const {
    const std::lock_guard lock{mutex_};
    errno = 0;
    if (std::fseek(file_.get(), static_cast<long>(at), SEEK_SET) != 0) fail();
    if (std::fread(bytes.data(), 1, bytes.size(), file_.get()) == bytes.size()) return;
    if (std::ferror(file_.get()) != 0) fail();
    refuse("it became shorter while it was read", "write the file again and leave it alone");
  }

  [[noreturn]] void refuse(const std::string& problem, const std::string& fix) const {
    throw Error{"moepar::TokenFile: '" + path_ + "': " + problem + ". Fix: " + fix + "."};
  }
  [[noreturn]] void fail() const {
    const int number = errno;
    throw Error{"moepar::TokenFile: cannot read '" + path_ + "': " + detail::reason(number) +
                ". Fix: check the path, the folder that the program runs in and the permissions."};
  }

  std::string path_;
  detail::File file_;
  TokenFileHeader header_;
  mutable std::mutex mutex_;
};

}  // namespace moepar
