// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <charconv>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <moepar/core/index.hpp>
#include <moepar/data/new_file.hpp>

namespace moepar {

//! Writes blocks of tokens as lines of JSON, `{"input_ids":[...],"attention_mask":[...],"labels":[...]}`, as `to_json`
//! of Hugging Face's datasets does after group_texts: attention all ones, labels a copy of the ids. Memory is one line.
//! The file has its name from finish() on; without it nothing is left.
class JsonlWriter {
 public:
  //! Throws Error when the file cannot be made.
  explicit JsonlWriter(std::string path) : file_{std::move(path), "moepar::JsonlWriter"} {}

  //! Throws Error when the disk is full.
  void write(std::span<const std::int32_t> block) {
    line_ = "{\"input_ids\":[";
    for (const std::int32_t id : block) number(id);
    next("],\"attention_mask\":[");
    for (std::size_t i = 0; i < block.size(); ++i) line_ += "1,";
    next("],\"labels\":[");
    for (const std::int32_t id : block) number(id);
    next("]}\n");
    file_.write(line_);
  }

  //! Gives the file its name; it takes the place of one that has it. The last call.
  void finish() { file_.commit(); }

 private:
  void number(std::int32_t id) {
    char digits[16];
    line_.append(digits, std::to_chars(digits, digits + sizeof digits, id).ptr) += ',';
  }
  void next(std::string_view text) {
    if (line_.ends_with(',')) line_.pop_back();
    line_ += text;
  }

  detail::NewFile file_;
  std::string line_;
};

}  // namespace moepar
