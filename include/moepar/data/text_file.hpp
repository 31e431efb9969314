// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <memory>
#include <string>
#include <system_error>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>

namespace moepar {
namespace detail {

struct FileCloser {
  void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};

//! A C stream, closed with its owner. C streams, since their errors have reasons (errno) and iostreams' have none.
using File = std::unique_ptr<std::FILE, FileCloser>;

//! What the system says about the error number `number`.
inline std::string reason(int number) { return std::error_code{number, std::generic_category()}.message(); }

}  // namespace detail

//! The whole file at `path`, byte for byte; pipes work too. Throws Error when it cannot be opened or read (absent, a
//! directory, no permission), is empty, or is longer than `limit` bytes; never reads more than one piece past the
//! limit.
[[nodiscard]] inline std::string read_text(const std::string& path, Index limit = 1_GiB) {
  const auto refuse = [&](const std::string& problem, const std::string& fix) {
    throw Error{"moepar::read_text: cannot read '" + path + "': " + problem + ". Fix: " + fix + "."};
  };
  const detail::File file{std::fopen(path.c_str(), "rb")};
  if (!file) refuse(detail::reason(errno), "check the path, the folder that the program runs in and the permissions");

  constexpr std::size_t piece = std::size_t{1} << 20;
  std::string text;
  for (;;) {
    const std::size_t before = text.size();
    text.resize(before + piece);
    errno = 0;
    const std::size_t count = std::fread(text.data() + before, 1, piece, file.get());
    text.resize(before + count);
    if (std::ferror(file.get()) != 0) refuse(detail::reason(errno), "name a file with text in it");
    if (static_cast<Index>(text.size()) > limit)
      refuse("it is longer than the limit of " + std::to_string(limit) + " bytes",
             "name a shorter file or raise the limit");
    if (count < piece) break;
  }
  if (text.empty()) refuse("it is empty", "name a file with text in it");
  return text;
}

}  // namespace moepar
