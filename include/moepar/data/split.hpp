// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <charconv>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/shown_text.hpp>

namespace moepar {

//! Rows first .. last - 1 of a data set.
struct RowRange {
  Index first = 0, last = 0;
  [[nodiscard]] constexpr Index size() const { return last - first; }
  [[nodiscard]] constexpr bool contains(Index row) const { return row >= first && row < last; }
  friend constexpr bool operator==(const RowRange&, const RowRange&) = default;
};

namespace detail {

//! `percent` of `rows` to the nearest whole number, halves to the even one: Python's round(), hence Hugging Face's
//! rounding "closest". |percent| <= 100, 0 <= rows <= 2^56.
constexpr Index percent_of(Index percent, Index rows) {
  const Index scaled = percent < 0 ? -percent * rows : percent * rows;
  const Index whole = scaled / 100, twice = scaled % 100 * 2;
  const Index nearest = whole + (twice > 100 || (twice == 100 && whole % 2 != 0) ? 1 : 0);
  return percent < 0 ? -nearest : nearest;
}

}  // namespace detail

//! A part of a data set as Hugging Face's `load_dataset(split=...)` writes it: "train", "train[:10%]", "train[10%:]",
//! "[100:200]", "[-5%:]". Bounds are rows or whole percents; negative ones count from the end. The name may be absent.
class Split {
 public:
  //! Throws Error when `text` is no split: a sum of splits, one number of rows beside one of percents, more than 100 %.
  explicit Split(std::string_view text) : text_{text} {
    const std::size_t open = text.find('[');
    name_ = text.substr(0, open);
    for (const char character : name_)
      if (!word(character)) refuse("its name may have letters, digits, '_', '-' and '.' only");
    if (open == std::string_view::npos) {
      if (name_.empty()) refuse("it is empty");
      return;
    }
    std::string_view slice = text.substr(open + 1);
    const std::size_t colon = slice.find(':');
    if (!slice.ends_with(']') || colon == std::string_view::npos) refuse("a part is written [FROM:TO]");
    slice.remove_suffix(1);
    first_ = bound(slice.substr(0, colon));
    last_ = bound(slice.substr(colon + 1));
    if (first_ && last_ && first_->percent != last_->percent) refuse("one bound is in rows and the other in percents");
  }

  //! Whatever stands before the bracket.
  [[nodiscard]] const std::string& name() const { return name_; }
  //! Whether it is all rows, however many there are.
  [[nodiscard]] bool everything() const { return !first_ && !last_; }

  //! The rows of this split of a data set of `rows`; none where the bounds cross. Percents are rounded to the nearest
  //! row. As in Hugging Face, a negative percent that rounds to 0 rows is row 0: "[-1%:]" of 10 rows is all of them.
  //! Throws Error when a bound is beyond the rows.
  [[nodiscard]] RowRange of(Index rows) const {
    if (rows < 0 || rows > Index{1} << 56) refuse("the data set has " + std::to_string(rows) + " rows");
    const Index first = first_ ? place(*first_, rows) : 0, last = last_ ? place(*last_, rows) : rows;
    return {first, last < first ? first : last};
  }

 private:
  struct Bound {
    Index number = 0;
    bool percent = false;
  };

  static bool word(char character) {
    return (character >= 'a' && character <= 'z') || (character >= 'A' && character <= 'Z') ||
           (character >= '0' && character <= '9') || character == '_' || character == '-' || character == '.';
  }

  [[noreturn]] void refuse(const std::string& problem) const {
    throw Error{"moepar::Split: " + detail::shown_text(text_) + " is no part of the rows: " + problem +
                ". Fix: write for example train, train[:10%], train[10%:], [100:200] or [-5%:]."};
  }

  [[nodiscard]] std::optional<Bound> bound(std::string_view text) const {
    if (text.empty()) return std::nullopt;
    Bound bound;
    bound.percent = text.ends_with('%');
    if (bound.percent) text.remove_suffix(1);
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), bound.number);
    if (text.empty() || error != std::errc{} || end != text.data() + text.size())
      refuse("a bound is a whole number, with % or without");
    if (bound.percent && (bound.number < -100 || bound.number > 100)) refuse("a bound is beyond 100 %");
    return bound;
  }

  [[nodiscard]] Index place(const Bound& bound, Index rows) const {
    const Index number = bound.percent ? detail::percent_of(bound.number, rows) : bound.number;
    if (number < -rows || number > rows)
      refuse("the bound " + std::to_string(number) + " is beyond the " + std::to_string(rows) + " rows that there are");
    return number < 0 ? rows + number : number;
  }

  std::string text_, name_;
  std::optional<Bound> first_, last_;
};

}  // namespace moepar
