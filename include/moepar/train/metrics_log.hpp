// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <map>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/text_file.hpp>
#include <moepar/train/json_line_reader.hpp>
#include <moepar/train/step_report.hpp>

namespace moepar {

//! A run as its metrics file tells it.
struct MetricsLog {
  //! A line that was left out, and why.
  struct Problem {
    Index line = 0;  //!< counts from 1
    std::string reason{};
  };

  JsonFields run{};                                           //!< of the last line of kind "run"; empty without one
  std::map<std::string_view, std::vector<double>> columns{};  //!< by name, a number a step; NaN: not measured
  std::vector<std::vector<float>> tokens_per_expert{};        //!< a step: layers x experts, or empty
  std::size_t layers = 0, experts = 0;
  Index bad_lines = 0;              //!< that are no metrics; reading ends at the thousandth
  std::vector<Problem> problems{};  //!< the first ten of them
  Problem torn{};                   //!< a last line that a killed run did not finish; its line is 0 without one

  [[nodiscard]] std::size_t steps() const { return tokens_per_expert.size(); }
  [[nodiscard]] const std::vector<double>& column(std::string_view name) const { return columns.at(name); }
};

namespace detail {

//! The numbers of a step that a MetricsLog keeps.
inline constexpr std::array<std::string_view, 10> metrics_columns{
    "step",         "ce",           "evaluation_loss",   "grad_norm",          "lr",
    "milliseconds", "dead_experts", "tokens_per_second", "load_max_over_mean", "dropped_tokens"};

inline const JsonValue& metrics_field(const JsonFields& fields, std::string_view name, JsonValue::Type type) {
  const auto place = fields.find(name);
  if (place == fields.end()) throw Error{"the field '" + std::string{name} + "' is missing"};
  if (place->second.type != type && (type != JsonValue::number || place->second.type != JsonValue::null))
    throw Error{"the field '" + std::string{name} + "' has a wrong type"};
  return place->second;
}

inline void add_step(MetricsLog& log, const JsonFields& fields) {
  std::array<double, metrics_columns.size()> numbers{};
  for (std::size_t i = 0; i < numbers.size(); ++i)
    numbers[i] = metrics_field(fields, metrics_columns[i], JsonValue::number).real;
  const double step = numbers[0];
  if (!(step >= 0 && step <= 0x1p48 && step == std::floor(step))) throw Error{"'step' is no step number"};
  const JsonValue& load = metrics_field(fields, "tokens_per_expert", JsonValue::table);
  const std::size_t experts = load.rows == 0 ? 0 : load.cells.size() / load.rows;
  if (load.cells.size() > 65536) throw Error{"it counts the tokens of more than 65536 experts"};
  if (!std::ranges::all_of(load.cells, [](double tokens) { return tokens >= 0 && tokens <= 0x1p63; }))
    throw Error{"'tokens_per_expert' holds a number that is no count"};
  if (experts > 0 && log.experts > 0 && (load.rows != log.layers || experts != log.experts))
    throw Error{"'tokens_per_expert' has another shape than before"};
  if (experts > 0) log.layers = load.rows, log.experts = experts;

  while (log.steps() > 0 && log.columns["step"].back() >= step) {
    for (const auto name : metrics_columns) log.columns[name].pop_back();
    log.tokens_per_expert.pop_back();
  }
  for (std::size_t i = 0; i < numbers.size(); ++i) log.columns[metrics_columns[i]].push_back(numbers[i]);
  log.tokens_per_expert.emplace_back(load.cells.begin(), load.cells.end());
}

inline void add_line(MetricsLog& log, std::string_view line) {
  JsonFields fields = read_json_line(line);
  if (metrics_field(fields, "version", JsonValue::number).characters != "1") throw Error{"its version is not 1"};
  const std::string& kind = metrics_field(fields, "kind", JsonValue::text).characters;
  if (kind == "step") add_step(log, fields);
  if (kind == "run") log.run = std::move(fields);
}

}  // namespace detail

//! Reads what MetricsFile wrote; for files that nobody vouches for. Steps that a resumed run repeated count as written
//! last. Lines of another kind are skipped, lines that are no metrics are counted. Throws Error when the file cannot be
//! read, is longer than `limit` bytes or holds no step.
[[nodiscard]] inline MetricsLog read_metrics(const std::string& path, Index limit = 256_MiB) {
  const std::string text = read_text(path, limit);
  MetricsLog log;
  for (const auto name : detail::metrics_columns) log.columns[name];
  Index number = 0;
  for (std::size_t begin = 0; begin < text.size() && log.bad_lines < 1000;) {
    const std::size_t end = std::min(text.find('\n', begin), text.size());
    const std::string_view line = std::string_view{text}.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
    try {
      detail::add_line(log, line);
    } catch (const Error& error) {
      if (end == text.size())
        log.torn = {number, error.what()};
      else if (++log.bad_lines <= 10)
        log.problems.push_back({number, error.what()});
    }
  }
  if (log.steps() == 0 && log.bad_lines == 0)
    throw Error{"moepar::read_metrics: there is no step in '" + path + "'. Fix: train at least one step."};
  return log;
}

}  // namespace moepar
