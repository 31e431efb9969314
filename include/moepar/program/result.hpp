// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <cstdio>
#include <moepar/core/index.hpp>
#include <moepar/train/json_line.hpp>
#include <moepar/train/line_file.hpp>
#include <span>
#include <string>
#include <string_view>

namespace moepar {

//! What a verb of a model program yields: one JSON object on one line.
class ProgramResult {
 public:
  ProgramResult() { line_.open(256); }

  template <class Value> ProgramResult& add(std::string_view key, const Value& value) {
    line_.field(key, value);
    return *this;
  }
  //! layers x experts, row-major.
  ProgramResult& add(std::string_view key, std::span<const std::int64_t> counts, Index layers, Index experts) {
    line_.field(key, counts.data(), counts.empty() ? 0 : layers, experts);
    return *this;
  }
  //! One row of numbers.
  ProgramResult& add(std::string_view key, std::span<const std::int32_t> numbers) {
    line_.field(key, numbers);
    return *this;
  }

  //! Writes the line to the file `out`, or to standard output when that is empty.
  void write(const std::string& out = {}) {
    const std::string_view text = line_.close();
    if (out.empty()) {
      std::fwrite(text.data(), 1, text.size(), stdout);
      std::fflush(stdout);
      return;
    }
    detail::LineFile{out, MetricsMode::replace}.write(text);
  }

 private:
  detail::JsonLine line_{};
};

}  // namespace moepar
