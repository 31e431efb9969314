// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <charconv>
#include <cmath>
#include <cstddef>
#include <string_view>
#include <system_error>

#include <moepar/core/index.hpp>

namespace moepar::detail {

//! A few characters for one cell of a line, without allocation.
class ShortNumber {
 public:
  [[nodiscard]] std::string_view text() const { return {text_, size_}; }

  static ShortNumber of(std::string_view text) {
    ShortNumber cell;
    for (const char character : text.substr(0, sizeof text_)) cell.text_[cell.size_++] = character;
    return cell;
  }

  //! `value` with `decimals` digits after the point where that takes at most `width` >= 6 characters and shows more
  //! than zeros; fewer decimals or an exponent where not. `missing` stands for NaN.
  static ShortNumber real(double value, int decimals, std::size_t width, std::string_view missing) {
    if (std::isnan(value)) return of(missing);
    if (std::isinf(value)) return of(value > 0 ? "inf" : "-inf");
    const double least = 0.5 / std::pow(10.0, decimals);
    if (value == 0 || std::fabs(value) >= least)
      for (int digits = decimals; digits >= 0; --digits)
        if (const ShortNumber cell{value, std::chars_format::fixed, digits}; cell.fits(width)) return cell;
    return exponent(value, 2, width, missing);
  }

  //! `value` as 1.25e-04, with fewer digits where that is longer than `width`.
  static ShortNumber exponent(double value, int decimals, std::size_t width, std::string_view missing) {
    if (!std::isfinite(value)) return real(value, 0, width, missing);
    for (int digits = decimals; digits > 0; --digits)
      if (const ShortNumber cell{value, std::chars_format::scientific, digits}; cell.fits(width)) return cell;
    return ShortNumber{value, std::chars_format::scientific, 0};
  }

  //! Three or four digits and a unit: 812, 12.3k, 184k, 1.02M.
  static ShortNumber compact(double value, std::string_view missing) {
    if (!(std::fabs(value) < 1e15)) return real(value, 0, 6, missing);
    std::size_t unit = 0;
    for (; std::fabs(value) >= 999.5 && unit < 4; ++unit) value /= 1000;
    const double size = std::fabs(value);
    ShortNumber cell{value, std::chars_format::fixed, unit == 0 || size >= 99.95 ? 0 : size >= 9.995 ? 1 : 2};
    if (unit > 0) cell.text_[cell.size_++] = " kMGT"[unit];
    return cell;
  }

  //! "120/2000", or "1.2M/10M" where that is longer than `width`.
  static ShortNumber fraction(Index part, Index whole, std::size_t width) {
    ShortNumber cell;
    cell.append(part), cell.append("/"), cell.append(whole);
    if (cell.fits(width)) return cell;
    ShortNumber rounded = compact(static_cast<double>(part), "");
    rounded.append("/"), rounded.append(compact(static_cast<double>(whole), "").text());
    return rounded;
  }

 private:
  ShortNumber() = default;
  ShortNumber(double value, std::chars_format format, int digits) {
    const auto end = std::to_chars(text_, text_ + sizeof text_, value, format, digits);
    size_ = end.ec == std::errc{} ? static_cast<std::size_t>(end.ptr - text_) : sizeof text_ + 1;  // too long to show
  }
  [[nodiscard]] bool fits(std::size_t width) const { return size_ <= width; }
  void append(std::string_view text) {
    for (const char character : text)
      if (size_ < sizeof text_) text_[size_++] = character;
  }
  void append(Index number) {
    size_ = static_cast<std::size_t>(std::to_chars(text_ + size_, text_ + sizeof text_, number).ptr - text_);
  }

  char text_[48] = {};
  std::size_t size_ = 0;
};

}  // namespace moepar::detail
