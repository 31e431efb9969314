// SPDX-License-Identifier: Apache-2.0
#pragma once
// What tests of data share: the sentence of a refusal, and a folder for files.
#include <doctest/doctest.h>

#include <filesystem>
#include <fstream>
#include <moepar/core/error.hpp>
#include <random>
#include <string>
#include <string_view>

namespace data_test {

//! The sentence of the Error that `call` throws; empty when it throws none.
template <class Call> std::string refusal(const Call& call) {
  try {
    call();
  } catch (const moepar::Error& error) {
    CHECK(std::string_view{error.what()}.find("Fix: ") != std::string_view::npos);
    return error.what();
  }
  return {};
}

inline bool holds(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

//! An empty folder that goes with its object.
struct Folder {
  std::filesystem::path path =
      std::filesystem::temp_directory_path() / ("moepar_data_test_" + std::to_string(std::random_device{}()));
  Folder() { std::filesystem::create_directories(path); }
  Folder(const Folder&) = delete;
  ~Folder() { std::filesystem::remove_all(path); }
  std::string operator/(const char* name) const { return (path / name).string(); }
  //! The path of a file with this content.
  std::string file(std::string_view content, const char* name = "rows") const {
    std::ofstream{*this / name, std::ios::binary} << content;
    return *this / name;
  }
};

}  // namespace data_test
