// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdio>
#include <string>
#include <string_view>

#include <moepar/core/index.hpp>
#include <moepar/train/short_number.hpp>
#include <moepar/train/step_report.hpp>
#include <moepar/train/terminal.hpp>
#include <moepar/train/text_table.hpp>

namespace moepar {
namespace detail {

struct ProgressColumn {
  std::string_view title;
  int width;  //!< with the space before it
  int rank;   //!< on a narrow terminal the columns of the highest rank go first
};

//! 109 characters in all.
inline constexpr ProgressColumn progress_columns[] = {
    {"step", 13, 0}, {"loss", 8, 1},     {"eval", 8, 4},     {"norm", 8, 7},   {"lr", 9, 9},
    {"ms", 8, 6},    {"tok/s", 8, 3},    {"tok/s/r", 8, 12}, {"%peak", 8, 11}, {"max/mean", 9, 5},
    {"dead", 6, 8},  {"dropped", 8, 10}, {"ETA", 8, 2},
};

enum class Paint { none, good, warning, bad, faint };

}  // namespace detail

//! How the progress lines of a run look.
struct ProgressSettings {
  Terminal terminal{};                   //!< colour and width; terminal_of(stdout) where people look
  double reference_loss = not_measured;  //!< a loss below it is shown green: the unigram entropy, as a rule
  Index header_every = 20;               //!< lines between two headers; 0: one header
};

//! One aligned line a step, for people: at most 109 columns wide, and on a terminal narrower than that without the
//! columns that matter least. "tok/s" is the whole world's rate, "tok/s/r" a rank's; "max/mean" the load of the busiest
//! expert; "-" was not measured. A loss or norm that is not finite is red, dead experts and dropped tokens are yellow.
//! No allocation after the first line.
class ProgressLine {
 public:
  explicit ProgressLine(ProgressSettings settings = {}) : settings_{settings} { text_.reserve(512); }

  //! Writes the line of `report` to `stream`, a header before it where one is due, and flushes.
  void print(const StepReport& report, std::FILE* stream = stdout) {
    if (settings_.header_every > 0 ? printed_ % settings_.header_every == 0 : printed_ == 0) put(header(), stream);
    ++printed_;
    put(line(report), stream);
    std::fflush(stream);
  }

  //! The names of the columns, with a line feed; valid until the next call of this object.
  [[nodiscard]] std::string_view header() {
    text_.clear();
    for (const auto& column : detail::progress_columns) cell(column, column.title, detail::Paint::faint);
    return text_ += '\n';
  }

  //! The line of `report`, with a line feed; valid until the next call of this object.
  [[nodiscard]] std::string_view line(const StepReport& report) {
    using detail::Paint, detail::ShortNumber;
    const auto* column = detail::progress_columns;
    text_.clear();
    const auto put_cell = [&](const ShortNumber& number, Paint paint = Paint::none) {
      cell(*column++, number.text(), paint);
    };
    const auto below = [&](double loss) { return loss < settings_.reference_loss ? Paint::good : Paint::none; };
    const auto finite = [](double value, Paint paint) { return std::isfinite(value) ? paint : Paint::bad; };
    const auto count = [&](Index number) {
      put_cell(report.experts > 0 ? ShortNumber::compact(static_cast<double>(number), "-") : ShortNumber::of("-"),
               number > 0 ? Paint::warning : Paint::none);
    };
    put_cell(ShortNumber::fraction(report.step, report.total_steps, 12));
    put_cell(ShortNumber::real(report.cross_entropy, 4, 7, "nan"),
             finite(report.cross_entropy, below(report.cross_entropy)));
    put_cell(ShortNumber::real(report.evaluation_loss, 4, 7, "-"), below(report.evaluation_loss));
    put_cell(ShortNumber::real(report.gradient_norm, 3, 7, "nan"), finite(report.gradient_norm, Paint::none));
    put_cell(ShortNumber::exponent(report.learning_rate, 2, 8, "-"));
    put_cell(ShortNumber::real(report.milliseconds, 1, 7, "-"));
    put_cell(ShortNumber::compact(report.tokens_per_second, "-"));
    put_cell(ShortNumber::compact(report.tokens_per_second_per_rank, "-"));
    put_cell(ShortNumber::real(report.percent_of_peak, 1, 7, "-"));
    put_cell(ShortNumber::real(report.load_max_over_mean, 2, 8, "-"));
    count(report.dead_experts);
    count(report.dropped_tokens);
    put_cell(ShortNumber::of(human_duration(report.seconds_left)));
    return text_ += '\n';
  }

 private:
  [[nodiscard]] bool shown(const detail::ProgressColumn& column) const {
    if (settings_.terminal.columns <= 0) return true;
    int width = 0;
    for (const auto& other : detail::progress_columns) width += other.rank <= column.rank ? other.width : 0;
    return column.rank == 0 || width <= settings_.terminal.columns;
  }

  void cell(const detail::ProgressColumn& column, std::string_view text, detail::Paint paint) {
    if (!shown(column)) return;
    const auto width = static_cast<std::size_t>(column.width);
    text_.append(std::max(width, text.size() + 1) - text.size(), ' ');  // never without a space
    constexpr std::string_view codes[] = {"", "\033[32m", "\033[33m", "\033[1;31m", "\033[2m"};
    const bool painted = settings_.terminal.colour && paint != detail::Paint::none;
    if (painted) text_ += codes[static_cast<std::size_t>(paint)];
    text_ += text;
    if (painted) text_ += "\033[0m";
  }

  static void put(std::string_view text, std::FILE* stream) { std::fwrite(text.data(), 1, text.size(), stream); }

  ProgressSettings settings_;
  std::string text_;
  Index printed_ = 0;
};

}  // namespace moepar
