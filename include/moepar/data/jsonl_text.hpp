// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/json_object_events.hpp>
#include <moepar/data/line_reader.hpp>
#include <moepar/data/shown_text.hpp>

namespace moepar {
namespace detail {

class TextFieldReader : public JsonObjectEvents<TextFieldReader> {
 public:
  TextFieldReader(const std::string& field, const std::string& place) : JsonObjectEvents{place, 64}, field_{field} {}

  std::string text(std::string_view line) {
    read(line);
    if (!found_) refuse("it has no field " + shown_text(field_), "give the name of the field that holds the text");
    return std::move(text_);
  }

  void on_key(std::string_view key) { wanted_ = key == field_; }
  void on_array(bool opens) { check(opens); }
  void on_object(bool opens) { check(opens); }
  void on_scalar(const JsonScalar& value) {
    check(value.type != JsonScalar::text);
    if (wanted_) text_ = std::move(*value.characters), found_ = true, wanted_ = false;
  }

 private:
  void check(bool other) const {
    if (wanted_ && other) refuse("its field " + shown_text(field_) + " is no text", "write a text there");
  }

  const std::string& field_;
  std::string text_;
  bool wanted_ = false, found_ = false;
};

}  // namespace detail

//! The rows of a file with a JSON object a line, one of whose fields is the text. Other fields are passed over. Memory
//! is a small multiple of one line. Blank lines may stand at the end only.
class JsonlText {
 public:
  //! Throws Error when the file cannot be opened. A line longer than `longest` bytes is refused.
  explicit JsonlText(const std::string& path, std::string field = "text", Index longest = 64_MiB)
      : field_{std::move(field)}, lines_{path, "moepar::JsonlText", longest} {}

  //! The next text, valid until the next call; nothing after the last one. Throws Error, with file and line, for a line
  //! that is no JSON object in UTF-8, nested more than 64 deep, has a key twice, or no such text.
  std::optional<std::string_view> next() {
    while (const std::optional<std::string_view> line = lines_.next()) {
      if (line->find_first_not_of(" \t\r") == std::string_view::npos) {
        if (blank_.empty()) blank_ = lines_.place();
        continue;
      }
      if (!blank_.empty())
        throw Error{"moepar::JsonlText: " + blank_ +
                    ": the line is blank and others follow. Fix: remove it, or write what is missing."};
      text_ = detail::TextFieldReader{field_, "moepar::JsonlText: " + lines_.place()}.text(*line);
      ++rows_;
      return text_;
    }
    return std::nullopt;
  }

  //! Rows given so far, and bytes of the file that they took.
  [[nodiscard]] Index rows() const { return rows_; }
  [[nodiscard]] Index bytes() const { return lines_.bytes(); }

 private:
  std::string field_;
  detail::LineReader lines_;
  std::string text_, blank_;
  Index rows_ = 0;
};

}  // namespace moepar
