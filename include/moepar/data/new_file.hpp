// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cerrno>
#include <cstdio>
#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <moepar/core/error.hpp>
#include <moepar/data/text_file.hpp>

namespace moepar::detail {

//! A file in the making: written as PATH.partial beside its place, given its name by commit(). A file that was there
//! before stays whole until then, and goes on when this object dies without a commit. Nothing is flushed to the disk:
//! a machine that loses power may lose the file, a program that is killed leaves at most the partial one.
class NewFile {
 public:
  //! `who` starts the sentences of errors. Throws Error when the partial file cannot be made, or when something else
  //! than a plain file has the name.
  NewFile(std::string path, std::string who) : path_{std::move(path)}, who_{std::move(who)} {
    std::error_code error;
    const std::filesystem::file_status status = std::filesystem::status(path_, error);
    // A rename would put a plain file in the place of /dev/null.
    if (std::filesystem::exists(status) && !std::filesystem::is_regular_file(status))
      throw Error{who_ + ": '" + path_ + "' was to be written, but is no plain file. Fix: give another path."};
    file_.reset(std::fopen(partial().c_str(), "wb"));
    if (!file_) fail("check that the folder exists and may be written to");
  }
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;
  ~NewFile() {
    if (!file_) return;
    file_.reset();
    std::remove(partial().c_str());
  }

  //! Throws Error when the bytes cannot be written (a full disk).
  void write(std::string_view bytes) {
    errno = 0;
    if (std::fwrite(bytes.data(), 1, bytes.size(), file_.get()) != bytes.size()) fail("make room on the disk");
  }

  //! Writes `bytes` over the first of the file; the next write() goes on behind them.
  void write_first(std::string_view bytes) {
    errno = 0;
    if (std::fseek(file_.get(), 0, SEEK_SET) != 0) fail("name a file on a disk");
    write(bytes);
  }

  //! Gives the file its name; it takes the place of one that has it. The last call.
  void commit() {
    errno = 0;
    if (std::fflush(file_.get()) != 0) fail("make room on the disk");
    std::error_code error;
    std::filesystem::rename(partial(), path_, error);
    if (error) {
      errno = error.value();
      fail("check that the folder may be written to");
    }
    file_.reset();
  }

 private:
  [[nodiscard]] std::string partial() const { return path_ + ".partial"; }

  [[noreturn]] void fail(const std::string& fix) const {
    const int number = errno;
    throw Error{who_ + ": cannot write '" + path_ + "': " + reason(number) + ". Fix: " + fix + "."};
  }

  std::string path_, who_;
  File file_;
};

}  // namespace moepar::detail
