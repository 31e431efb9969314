// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cerrno>
#include <cstddef>
#include <cstdio>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/text_file.hpp>

namespace moepar::detail {

//! The lines of a file, one after another: memory is one line and one piece of the file, whatever the file holds. A
//! line ends at a line feed or at the end of the file; what stands before the line feed is handed out as it is.
class LineReader {
 public:
  //! `who` starts the sentences of errors. Throws Error when the file cannot be opened. A line longer than `longest`
  //! bytes is refused as soon as that many were read.
  LineReader(std::string path, std::string who, Index longest)
      : path_{std::move(path)},
        who_{std::move(who)},
        longest_{static_cast<std::size_t>(longest)},
        file_{std::fopen(path_.c_str(), "rb")} {
    if (!file_) fail("check the path, the folder that the program runs in and the permissions");
    // Our own pieces are the buffer; a second one would only copy.
    std::setvbuf(file_.get(), nullptr, _IONBF, 0);
    piece_.resize(std::size_t{1} << 16);
  }
  LineReader(const LineReader&) = delete;  // rest_ points into piece_
  LineReader& operator=(const LineReader&) = delete;

  //! The next line without its line feed, valid until the next call; nothing after the last one. Throws Error when the
  //! file cannot be read.
  std::optional<std::string_view> next() {
    line_.clear();
    bool any = false;
    while (rest_.empty() ? fill() : true) {
      if (!any) ++number_;
      any = true;
      const std::size_t feed = rest_.find('\n');
      const std::string_view part = rest_.substr(0, feed);
      if (line_.size() + part.size() > longest_)
        refuse("the line is longer than the limit of " + std::to_string(longest_) + " bytes", "cut the line in parts");
      const bool whole = feed != std::string_view::npos, alone = whole && line_.empty();
      if (!alone) line_ += part;
      rest_.remove_prefix(whole ? feed + 1 : part.size());
      bytes_ += static_cast<Index>(part.size() + (whole ? 1 : 0));
      if (whole) return alone ? part : std::string_view{line_};
    }
    if (any) return line_;
    return std::nullopt;
  }

  //! Of the line that next() gave last, counted from 1; 0 before the first.
  [[nodiscard]] Index number() const { return number_; }
  //! Bytes of all lines so far.
  [[nodiscard]] Index bytes() const { return bytes_; }
  //! "FILE:LINE" of that line, for errors.
  [[nodiscard]] std::string place() const { return path_ + ':' + std::to_string(number_); }

  //! Throws the Error of the line that next() gave last.
  [[noreturn]] void refuse(const std::string& problem, const std::string& fix) const {
    throw Error{who_ + ": " + place() + ": " + problem + ". Fix: " + fix + "."};
  }

 private:
  bool fill() {
    errno = 0;
    const std::size_t count = std::fread(piece_.data(), 1, piece_.size(), file_.get());
    if (count == 0 && std::ferror(file_.get()) != 0) fail("name a file with lines in it");
    rest_ = std::string_view{piece_}.substr(0, count);
    return count > 0;
  }

  [[noreturn]] void fail(const std::string& fix) const {
    const int number = errno;
    throw Error{who_ + ": cannot read '" + path_ + "': " + reason(number) + ". Fix: " + fix + "."};
  }

  std::string path_, who_;
  std::size_t longest_;
  File file_;
  std::string piece_, line_;
  std::string_view rest_;  // of the piece
  Index number_ = 0, bytes_ = 0;
};

}  // namespace moepar::detail
