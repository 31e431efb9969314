// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cerrno>
#include <cstdio>
#include <string>
#include <string_view>
#include <utility>

#include <moepar/core/error.hpp>
#include <moepar/data/text_file.hpp>

namespace moepar {

//! `create` refuses a file that exists, so that no run overwrites another's; `replace` empties it; `append` goes on
//! after a resume, and starts the file where there is none.
enum class MetricsMode { create, replace, append };

namespace detail {

//! A file that grows by whole lines of JSON, each handed to the system at once.
class LineFile {
 public:
  //! Throws Error when the file cannot be opened in this mode.
  LineFile(std::string path, MetricsMode mode) : path_{std::move(path)} {
    if (mode == MetricsMode::append) {
      file_.reset(std::fopen(path_.c_str(), "rb+"));
      if (!file_ && errno != ENOENT) fail("open", "check the path and its permissions");
    }
    if (file_) {
      blank_torn_line();
    } else {
      file_.reset(std::fopen(path_.c_str(), mode == MetricsMode::create ? "wbx" : "wb"));
      if (!file_ && errno == EEXIST) fail("create", "choose another path, or append to or replace the file on purpose");
      if (!file_) fail("open", "check that the folder exists and may be written to");
    }
  }

  //! `line` ends in a line feed. Throws Error when it does not reach the system.
  void write(std::string_view line) {
    errno = 0;
    if (std::fwrite(line.data(), 1, line.size(), file_.get()) != line.size() || std::fflush(file_.get()) != 0)
      fail("write", "make room on the disk; the lines before are whole");
  }

 private:
  // A run that was killed may have left part of a line. It becomes spaces in front of the next line, which JSON allows:
  // standard C++ cannot shorten a file that is open.
  void blank_torn_line() {
    std::FILE* const file = file_.get();
    const auto check = [&](bool good) {
      if (!good) fail("read", "name a metrics file on a disk");
    };
    check(std::fseek(file, 0, SEEK_END) == 0);
    const long end = std::ftell(file);
    check(end >= 0);
    long torn = end;
    for (; torn > 0; --torn) {
      check(std::fseek(file, torn - 1, SEEK_SET) == 0);
      if (std::fgetc(file) == '\n') break;
    }
    check(std::fseek(file, torn, SEEK_SET) == 0);
    for (long place = torn; place < end; ++place) std::fputc(' ', file);
    check(std::fflush(file) == 0);
  }

  [[noreturn]] void fail(std::string_view attempt, std::string_view fix) const {
    const int number = errno;
    throw Error{"moepar::MetricsFile: cannot " + std::string{attempt} + " '" + path_ + "': " + reason(number) +
                ". Fix: " + std::string{fix} + "."};
  }

  std::string path_;
  File file_;
};

}  // namespace detail
}  // namespace moepar
