// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cerrno>
#include <cstdint>
#include <cstdio>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/text_file.hpp>
#include <moepar/train/json_line.hpp>
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
    const detail::File file{out.empty() ? nullptr : std::fopen(out.c_str(), "wb")};
    std::FILE* const stream = out.empty() ? stdout : file.get();
    if (stream == nullptr || std::fwrite(text.data(), 1, text.size(), stream) != text.size() ||
        std::fflush(stream) != 0)
      throw Error{"moepar: the result could not be written to " + (out.empty() ? "standard output" : "'" + out + "'") +
                  " (" + detail::reason(errno) + "). Fix: check the path and the disk."};
  }

 private:
  detail::JsonLine line_{};
};

}  // namespace moepar
