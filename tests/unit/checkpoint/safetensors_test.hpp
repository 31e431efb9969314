// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <random>
#include <source_location>
#include <span>
#include <string>
#include <string_view>

#include <moepar/core/error.hpp>

namespace safetensors_test {

//! The root of the project, from this file's place in it.
inline std::filesystem::path project_root() {
#ifdef MOEPAR_ROOT
  return MOEPAR_ROOT;
#else
  std::filesystem::path path = std::filesystem::absolute(std::source_location::current().file_name());
  for (int level = 0; level < 4; ++level) path = path.parent_path();
  return path;
#endif
}

//! The data that is not part of the project; absent where it is not there.
inline std::filesystem::path shared_data() {
  if (const char* shared = std::getenv("MOEPAR_SHARED")) return std::filesystem::path{shared} / "data";
  return project_root().parent_path() / "shared" / "data";
}

//! An empty folder of its own, removed with all that is in it.
class ScratchFolder {
 public:
  ScratchFolder() {
    std::random_device random;
    do path_ = std::filesystem::temp_directory_path() / ("moepar-safetensors-" + std::to_string(random()));
    while (!std::filesystem::create_directory(path_));
  }
  ScratchFolder(const ScratchFolder&) = delete;
  ScratchFolder& operator=(const ScratchFolder&) = delete;
  ~ScratchFolder() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }

  [[nodiscard]] std::string path() const { return path_.string(); }
  [[nodiscard]] std::string operator/(std::string_view name) const { return (path_ / name).string(); }
  [[nodiscard]] std::size_t entries() const {
    return static_cast<std::size_t>(std::distance(std::filesystem::directory_iterator{path_}, {}));
  }

 private:
  std::filesystem::path path_;
};

inline std::string bytes_of_file(const std::filesystem::path& path) {
  std::ifstream stream{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{stream}, {}};
}

inline void write_file(const std::filesystem::path& path, std::string_view bytes) {
  std::ofstream{path, std::ios::binary}.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

//! A safetensors file of this header and so many bytes of data.
inline std::string file_of(std::string_view header, std::size_t data_bytes = 0) {
  std::string bytes;
  for (unsigned shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(header.size() >> shift & 0xff);
  return bytes.append(header).append(data_bytes, '\1');
}

//! The sentence of the Error that `call` throws; empty when it throws none.
template <class Call> std::string refusal(const Call& call) {
  try {
    call();
  } catch (const moepar::Error& error) {
    return std::string_view{error.what()}.find("Fix: ") == std::string_view::npos ? "no fix" : error.what();
  }
  return {};
}

inline bool holds(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace safetensors_test
