// SPDX-License-Identifier: Apache-2.0
// Runs the files of the folders (or files) given through one fuzz target, for compilers without libFuzzer:
//   g++ -std=c++20 -I include tests/fuzz/safetensors.cpp tests/fuzz/replay.cpp && ./a.out tests/fuzz/corpus/safetensors
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size);

namespace {

void run(const std::filesystem::path& path) {
  std::ifstream stream{path, std::ios::binary};
  if (!stream) throw std::filesystem::filesystem_error{"cannot be read", path, {}};
  const std::string bytes{std::istreambuf_iterator<char>{stream}, {}};
  LLVMFuzzerTestOneInput(reinterpret_cast<const std::uint8_t*>(bytes.data()), bytes.size());
}

}  // namespace

int main(int argc, char** argv) {
  std::string current;
  try {
    int files = 0;
    for (int i = 1; i < argc; ++i) {
      current = argv[i];
      if (!std::filesystem::is_directory(current)) {
        run(current);
        ++files;
        continue;
      }
      for (const auto& entry : std::filesystem::recursive_directory_iterator{current})
        if (entry.is_regular_file()) {
          current = entry.path().string();
          run(entry.path());
          ++files;
        }
    }
    std::printf("%d files replayed\n", files);
    if (files > 0) return 0;
    std::fprintf(stderr, "usage: replay FOLDER_OR_FILE...\n");
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s: %s\n", current.c_str(), error.what());
  }
  return 1;
}
