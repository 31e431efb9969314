// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/line_reader.hpp>
#include <moepar/data/shown_text.hpp>
#include <moepar/data/text_file.hpp>

namespace moepar {

//! How a file is cut into rows of text.
enum class TextFormat {
  lines,  //!< a line is a row, an empty one too
  whole,  //!< the file is one row, line feeds and all
  tsv,    //!< a header line names the columns, one of which is the text: the layout of GLUE's SST-2
};

struct TextRowSettings {
  TextFormat format = TextFormat::lines;
  std::string column = "sentence";  //!< of a TSV file
  Index longest = 64_MiB;           //!< bytes of a line or of a whole file; longer ones are refused
};

//! The rows of a text file, one after another, byte for byte: trailing spaces stay, and bytes that are not UTF-8 are
//! left to the tokenizer. A carriage return right before a line feed belongs to the end of the line, as in Python's
//! universal newlines; any other is text. Memory is one row.
class TextRows {
 public:
  //! Throws Error when the file cannot be opened, is empty, is too long for `whole`, or has no such column.
  explicit TextRows(const std::string& path, TextRowSettings settings = {})
      : settings_{std::move(settings)}, lines_{path, "moepar::TextRows", settings_.longest} {
    if (settings_.format == TextFormat::whole) {
      whole_ = read_text(path, settings_.longest);
    } else {
      ahead_ = next_line();
      if (!ahead_)
        throw Error{"moepar::TextRows: cannot read '" + path + "': it is empty. Fix: name a file with text in it."};
      if (settings_.format == TextFormat::tsv) read_header();
    }
  }

  //! The next row, valid until the next call; nothing after the last one. Throws Error, with file and line, for a line
  //! that is too long or has another number of columns than the header.
  std::optional<std::string_view> next() {
    if (settings_.format == TextFormat::whole) {
      if (rows_ > 0) return std::nullopt;
      ++rows_;
      return whole_;
    }
    const auto line = ahead_ ? std::exchange(ahead_, std::nullopt) : next_line();
    if (!line) return std::nullopt;
    ++rows_;
    return settings_.format == TextFormat::tsv ? column_of(*line) : *line;
  }

  //! Rows given so far, and bytes of the file that they took.
  [[nodiscard]] Index rows() const { return rows_; }
  [[nodiscard]] Index bytes() const {
    if (settings_.format == TextFormat::whole) return rows_ == 0 ? 0 : static_cast<Index>(whole_.size());
    return lines_.bytes();
  }

 private:
  std::optional<std::string_view> next_line() {
    auto line = lines_.next();
    if (line && line->ends_with('\r')) line->remove_suffix(1);
    return line;
  }

  void read_header() {
    std::string_view header = *ahead_;
    ahead_.reset();
    columns_ = 1 + std::count(header.begin(), header.end(), '\t');
    for (Index column = 0; column < columns_; ++column)
      if (cell(header, column) == settings_.column) {
        if (wanted_ >= 0)
          lines_.refuse("two columns are named " + detail::shown_text(settings_.column), "rename one of them");
        wanted_ = column;
      }
    if (wanted_ < 0)
      lines_.refuse("no column is named " + detail::shown_text(settings_.column) + "; the header has " +
                        std::to_string(columns_) + " columns",
                    "give the name of the column that holds the text, in the first line of the file");
  }

  std::string_view column_of(std::string_view line) const {
    const Index columns = 1 + std::count(line.begin(), line.end(), '\t');
    if (columns != columns_)
      lines_.refuse("the line has " + std::to_string(columns) + " columns and the header " + std::to_string(columns_),
                    "write the same number of tabs in every line; a text cannot hold tabs or line feeds");
    return cell(line, wanted_);
  }

  static std::string_view cell(std::string_view line, Index column) {
    for (; column > 0; --column) line.remove_prefix(line.find('\t') + 1);
    return line.substr(0, line.find('\t'));
  }

  TextRowSettings settings_;
  detail::LineReader lines_;
  std::string whole_;
  std::optional<std::string_view> ahead_;  // read by the constructor
  Index columns_ = 0, wanted_ = -1, rows_ = 0;
};

}  // namespace moepar
