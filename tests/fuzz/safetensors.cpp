// SPDX-License-Identifier: Apache-2.0
// Any bytes as a safetensors file and as an index of such files: refused with an Error, or read into what keeps its
// promises. With libFuzzer:
//   clang++-16 -std=c++20 -O1 -g -fsanitize=fuzzer,address,undefined -I include tests/fuzz/safetensors.cpp
//   ./a.out FOLDER_OF_ITS_OWN tests/fuzz/corpus/safetensors
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <string>
#include <string_view>
#include <vector>

#include <moepar/checkpoint/json_scanner.hpp>
#include <moepar/checkpoint/tensor_header.hpp>
#include <moepar/checkpoint/tensor_index.hpp>
#include <moepar/checkpoint/tensor_layout.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/utf8.hpp>

namespace {

void require(bool holds, const char* what) {
  if (holds) return;
  std::fprintf(stderr, "broken: %s\n", what);
  std::abort();
}

void check_header(std::string_view bytes) {
  const moepar::TensorHeader header = moepar::parse_tensor_header(bytes, bytes.size());
  require(header.file_size() == bytes.size(), "the tensors end where the file ends");
  std::uint64_t at = 0;
  std::vector<moepar::TensorEntry> entries;
  for (const moepar::TensorInfo& tensor : header.tensors) {
    require(tensor.begin == at && tensor.end >= at, "tensors lie one behind another");
    require(tensor.elements() * moepar::bits_of(tensor.type) == tensor.bytes() * 8, "elements fill the bytes");
    at = tensor.end;
    entries.push_back({tensor.name, tensor.type, tensor.shape});
  }

  const std::string again = moepar::tensor_header_bytes(header);
  moepar::TensorHeader copy = moepar::parse_tensor_header(again, again.size() + at);
  copy.data_begin = header.data_begin;
  require(copy == header, "a header that is written again says the same");

  const moepar::TensorHeader sorted = moepar::lay_out_tensors(entries, header.metadata);
  const std::string written = moepar::tensor_header_bytes(sorted);
  require(sorted == moepar::parse_tensor_header(written, written.size() + at), "what is laid out can be read");
}

void check_index(std::string_view text) {
  const moepar::TensorIndex index = moepar::parse_tensor_index(text);
  require(!index.places.empty(), "an index names a tensor");
  for (std::size_t i = 0; i < index.places.size(); ++i) {
    require(index.places[i].file.find('/') == std::string::npos, "files lie in the folder");
    require(i == 0 || index.places[i - 1].tensor < index.places[i].tensor, "tensors are sorted and distinct");
  }
}

// The scanner alone: strings come out as UTF-8, depth ends at zero.
void check_scanner(std::string_view text) {
  if (moepar::detail::utf8_error(text) != std::string_view::npos) return;
  moepar::JsonScanner json{text};
  for (moepar::JsonToken token{}; token != moepar::JsonToken::end;) {
    token = json.next();
    require(moepar::detail::utf8_error(json.string()) == std::string_view::npos, "strings are UTF-8");
    require(json.depth() <= moepar::JsonScanner::deepest, "nesting is bounded");
  }
  require(json.depth() == 0 && json.position() == text.size(), "the whole text is read");
}

template <class Check> void run(const Check& check, std::string_view bytes) {
  try {
    check(bytes);
  } catch (const moepar::Error& error) {
    require(std::string_view{error.what()}.find("Fix: ") != std::string_view::npos, "an error says what to do");
    require(moepar::detail::utf8_error(error.what()) == std::string_view::npos, "an error is UTF-8");
  }
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view bytes{reinterpret_cast<const char*>(data), size};
  run(check_header, bytes);
  run(check_index, bytes);
  run(check_scanner, bytes);
  return 0;
}
