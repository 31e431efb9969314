// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <sys/mman.h>

#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <moepar/checkpoint/disk_file.hpp>
#include <moepar/checkpoint/tensor_header.hpp>
#include <moepar/checkpoint/tensor_names.hpp>
#include <moepar/core/index.hpp>

namespace moepar {
namespace detail {

//! A whole file in the address space, for reading; the pages are the system's and come when they are touched.
class FileMapping {
 public:
  explicit FileMapping(const std::string& path) {
    const DiskFile file = DiskFile::open(path);
    size_ = static_cast<std::size_t>(file.size());
    if (size_ == 0) return;  // nothing to map, which mmap refuses
    void* const address = ::mmap(nullptr, size_, PROT_READ, MAP_SHARED, file.descriptor(), 0);
    if (address == MAP_FAILED)
      refuse_file("'" + path + "' could not be mapped", errno, "read it in parts instead, by TensorFileReader");
    address_ = address;
  }
  FileMapping(FileMapping&& other) noexcept
      : address_{std::exchange(other.address_, nullptr)}, size_{std::exchange(other.size_, 0)} {}
  FileMapping& operator=(FileMapping&&) = delete;
  ~FileMapping() {
    if (address_ != nullptr) ::munmap(address_, size_);
  }

  [[nodiscard]] std::span<const std::byte> bytes() const { return {static_cast<const std::byte*>(address_), size_}; }

 private:
  void* address_ = nullptr;
  std::size_t size_ = 0;
};

}  // namespace detail

//! A safetensors file for reading without copies. Its header is checked against the size of the file at opening; a file
//! that somebody cuts afterwards ends the program (SIGBUS), which TensorFileReader reports instead.
class MappedTensorFile {
 public:
  //! Throws Error where the file cannot be mapped, TensorHeaderError where it is not valid.
  explicit MappedTensorFile(const std::string& path)
      : mapping_{path}, header_{parse(mapping_.bytes(), path)}, names_{header_.tensors} {}

  [[nodiscard]] const TensorHeader& header() const noexcept { return header_; }

  //! The tensor of this name, owned here; nullptr where there is none.
  [[nodiscard]] const TensorInfo* find(std::string_view name) const { return names_.find(header_.tensors, name); }

  //! The bytes of `tensor`, one of this file, at any address (to_floats() reads them), as long as this lives.
  [[nodiscard]] std::span<const std::byte> bytes(const TensorInfo& tensor) const {
    return mapping_.bytes().subspan(static_cast<std::size_t>(header_.data_begin + tensor.begin),
                                    static_cast<std::size_t>(tensor.bytes()));
  }

 private:
  static TensorHeader parse(std::span<const std::byte> bytes, const std::string& path) {
    return parse_tensor_header({reinterpret_cast<const char*>(bytes.data()), bytes.size()}, bytes.size(), path);
  }

  detail::FileMapping mapping_;
  TensorHeader header_;
  detail::TensorNames names_;
};

}  // namespace moepar
