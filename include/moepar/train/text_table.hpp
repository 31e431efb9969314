// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstddef>
#include <span>
#include <string>
#include <string_view>

#include <moepar/core/index.hpp>

namespace moepar {
namespace detail {

//! `value` with `decimals` digits after the point. Unlike printf it does not depend on the locale.
inline std::string fixed(double value, int decimals) {
  char text[400];  // the longest double has 309 digits before the point
  return {text, std::to_chars(text, text + sizeof text, value, std::chars_format::fixed, decimals).ptr};
}

//! `value` in the largest of `units` that keeps it at least 1, with one decimal below 100: "1.5 GiB", "640 KiB", "12
//! B".
inline std::string in_units(Index value, double step, std::span<const std::string_view> units) {
  auto number = static_cast<double>(value);
  std::size_t unit = 0;
  // 999.5 would be shown as 1000
  for (; std::fabs(number) >= step - 0.5 && unit + 1 < units.size(); ++unit) number /= step;
  const bool whole = unit == 0 || std::fabs(number) >= 99.95 || std::rint(number * 10) == std::rint(number) * 10;
  std::string text = fixed(number, whole ? 0 : 1);
  return units[unit].empty() ? text : text.append(" ").append(units[unit]);
}

inline std::string padded(std::string_view text, std::size_t width, bool right) {
  const std::string space(width > text.size() ? width - text.size() : 0, ' ');
  return right ? space + std::string{text} : std::string{text} + space;
}

}  // namespace detail

//! "1.5 GiB", "640 KiB", "12 B".
[[nodiscard]] inline std::string human_bytes(Index bytes) {
  constexpr std::string_view units[] = {"B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
  return detail::in_units(bytes, 1024, units);
}

//! "14.3 M", "512", "46.7 B": thousands, millions, billions (10^9), trillions.
[[nodiscard]] inline std::string human_count(Index count) {
  constexpr std::string_view units[] = {"", "K", "M", "B", "T"};
  return detail::in_units(count, 1000, units);
}

//! "2d03h", "1h02m", "3m20s", "12s"; "-" for a time that is negative or not finite.
[[nodiscard]] inline std::string human_duration(double seconds) {
  if (!(seconds >= 0 && seconds < 1e15)) return "-";
  const auto whole = static_cast<Index>(std::rint(seconds));
  const auto pair = [](Index large, const char* large_unit, Index small, const char* small_unit) {
    return std::to_string(large) + large_unit + (small < 10 ? "0" : "") + std::to_string(small) + small_unit;
  };
  if (whole >= 86400) return pair(whole / 86400, "d", whole % 86400 / 3600, "h");
  if (whole >= 3600) return pair(whole / 3600, "h", whole % 3600 / 60, "m");
  if (whole >= 60) return pair(whole / 60, "m", whole % 60, "s");
  return std::to_string(whole) + "s";
}

//! One line of a table of what takes memory.
struct PlanRow {
  std::string_view name;
  Index bytes = 0;
  std::string_view note{};
};

//! Rows of name, bytes and note under a title, with their sum; the text ends in a line feed.
[[nodiscard]] inline std::string plan_table(std::string_view title, std::span<const PlanRow> rows) {
  std::size_t width = std::string_view{"total"}.size();
  Index total = 0;
  for (const PlanRow& row : rows) width = std::max(width, row.name.size()), total += row.bytes;
  std::string text{title};
  const auto line = [&](std::string_view name, Index bytes, std::string_view note) {
    text += "\n  " + detail::padded(name, width, false) + detail::padded(human_bytes(bytes), 11, true);
    if (!note.empty()) text.append("  ").append(note);
  };
  for (const PlanRow& row : rows) line(row.name, row.bytes, row.note);
  if (rows.size() > 1) line("total", total, "");
  return text += '\n';
}

}  // namespace moepar
