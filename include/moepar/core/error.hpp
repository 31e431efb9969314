// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <source_location>
#include <stdexcept>
#include <string>
#include <string_view>

namespace moepar {

//! What host code throws. what() is the sentence for a person: what was attempted, with which values, and what to do.
//! where() is the line that found out; report() joins the two for a log.
class Error : public std::runtime_error {
 public:
  explicit Error(const std::string& what, std::source_location where = std::source_location::current())
      : std::runtime_error{what}, where_{where} {}

  [[nodiscard]] const std::source_location& where() const noexcept { return where_; }

  //! "file:line: sentence", the file without its folders.
  [[nodiscard]] std::string report() const {
    std::string_view file = where_.file_name();
    file.remove_prefix(file.find_last_of('/') + 1);  // npos + 1 is 0: no folder, nothing to remove
    return std::string{file} + ':' + std::to_string(where_.line()) + ": " + what();
  }

 private:
  std::source_location where_;
};

}  // namespace moepar
