// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <unistd.h>

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moepar/checkpoint/disk_file.hpp>
#include <moepar/checkpoint/json_string.hpp>
#include <moepar/checkpoint/tensor_header.hpp>
#include <moepar/checkpoint/tensor_layout.hpp>
#include <moepar/checkpoint/tensor_names.hpp>
#include <moepar/checkpoint/tensor_type.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>

namespace moepar {
namespace detail {

//! Elements that are converted at a time: a buffer of at most 1 MiB.
inline constexpr std::size_t conversion_piece = std::size_t{1} << 17;

inline TensorHeader read_tensor_header(const DiskFile& file) {
  const Index size = file.size();
  std::string bytes(static_cast<std::size_t>(std::min<Index>(size, 8)), '\0');
  file.read_at(std::as_writable_bytes(std::span{bytes}), 0);
  const std::uint64_t end = tensor_header_end(bytes, static_cast<std::uint64_t>(size), file.path());
  bytes.resize(static_cast<std::size_t>(end));
  file.read_at(std::as_writable_bytes(std::span{bytes}.subspan(8)), 8);
  return parse_tensor_header(bytes, static_cast<std::uint64_t>(size), file.path());
}

}  // namespace detail

//! A safetensors file for reading, its header checked as a whole. Reads what is asked for and nothing else. Several
//! threads may use one reader.
class TensorFileReader {
 public:
  //! Throws Error where the file cannot be read, TensorHeaderError where it is not valid.
  explicit TensorFileReader(const std::string& path)
      : file_{DiskFile::open(path)}, header_{detail::read_tensor_header(file_)}, names_{header_.tensors} {}

  [[nodiscard]] const std::string& path() const noexcept { return file_.path(); }
  [[nodiscard]] const TensorHeader& header() const noexcept { return header_; }

  //! The tensor of this name, owned by the reader; nullptr where there is none.
  [[nodiscard]] const TensorInfo* find(std::string_view name) const { return names_.find(header_.tensors, name); }

  //! Reads values.size() elements of `tensor`, one of this file, from `first_element` (flat, row-major) on. Throws
  //! Error for a part outside the tensor and for a type that is not readable.
  void read(const TensorInfo& tensor, Index first_element, std::span<float> values) const {
    const auto count = static_cast<Index>(values.size());
    detail::require_part(path(), tensor, first_element, count, tensor.elements(), "elements");
    if (!is_readable(tensor.type))
      throw Error{"moepar: tensor " + detail::shown_name(tensor.name) + " in '" + path() + "' is of type " +
                  std::string{name_of(tensor.type)} +
                  ", which is not read as numbers. Fix: convert it to F32, BF16, F16 or F64."};
    std::vector<std::byte> bytes;
    for (Index done = 0; done < count;) {
      const auto piece = values.subspan(static_cast<std::size_t>(done));
      const auto part = piece.first(std::min(piece.size(), detail::conversion_piece));
      bytes.resize(static_cast<std::size_t>(detail::element_byte(tensor, static_cast<Index>(part.size()))));
      read_bytes(tensor, detail::element_byte(tensor, first_element + done), bytes);
      to_floats(tensor.type, bytes.data(), part);
      done += static_cast<Index>(part.size());
    }
  }

  //! Reads bytes.size() bytes of `tensor` from its byte `first_byte` on.
  void read_bytes(const TensorInfo& tensor, Index first_byte, std::span<std::byte> bytes) const {
    detail::require_part(path(), tensor, first_byte, static_cast<Index>(bytes.size()), tensor.bytes(), "bytes");
    file_.read_at(bytes, static_cast<Index>(header_.data_begin + tensor.begin) + first_byte);
  }

 private:
  DiskFile file_;
  TensorHeader header_;
  detail::TensorNames names_;
};

//! A safetensors file in the making, under the name PATH.partial until it is whole. One writer creates it; others
//! (threads, ranks, processes) join it and write their parts, in any order. What nobody writes is zeros. A creator that
//! is destroyed before finish() removes the file; one that was killed leaves it, and the next creator replaces it.
class TensorFileWriter {
 public:
  //! Makes PATH.partial in full size, with its header. Nobody may join before this returns.
  [[nodiscard]] static TensorFileWriter create(const std::string& path, const std::vector<TensorEntry>& entries,
                                               TensorMetadata metadata = {}) {
    require_plain_target(path);
    TensorHeader header = lay_out_tensors(entries, std::move(metadata));
    TensorFileWriter writer{path, std::move(header), DiskFile::create(path + ".partial"), true};
    writer.file_.resize(static_cast<Index>(writer.header_.file_size()));
    const std::string bytes = tensor_header_bytes(writer.header_);
    writer.file_.write_at(std::as_bytes(std::span{bytes}), 0);
    return writer;
  }

  //! Opens PATH.partial as another made it, with the same entries and metadata; an Error where it has others.
  [[nodiscard]] static TensorFileWriter join(const std::string& path, const std::vector<TensorEntry>& entries,
                                             TensorMetadata metadata = {}) {
    TensorHeader header = lay_out_tensors(entries, std::move(metadata));
    TensorFileWriter writer{path, std::move(header), DiskFile::edit(path + ".partial"), false};
    const std::string expected = tensor_header_bytes(writer.header_);
    std::string found(expected.size(), '\0');
    const bool same_size = writer.file_.size() == static_cast<Index>(writer.header_.file_size());
    if (same_size) writer.file_.read_at(std::as_writable_bytes(std::span{found}), 0);
    if (!same_size || found != expected)
      throw Error{"moepar: '" + writer.file_.path() +
                  "' is not the file that was to be joined: its tensors or its metadata are others. Fix: give "
                  "every writer the same ones, and join after create() has returned."};
    return writer;
  }

  TensorFileWriter(TensorFileWriter&& other) noexcept
      : path_{std::move(other.path_)},
        header_{std::move(other.header_)},
        names_{std::move(other.names_)},
        file_{std::move(other.file_)},
        unfinished_{std::exchange(other.unfinished_, false)} {}
  TensorFileWriter& operator=(TensorFileWriter&&) = delete;

  ~TensorFileWriter() {
    if (unfinished_) ::unlink(file_.path().c_str());
  }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const TensorHeader& header() const noexcept { return header_; }

  //! Writes elements of tensor `name` from `first_element` (flat, row-major) on, converted to the tensor's type.
  void write(std::string_view name, Index first_element, std::span<const float> values) {
    const TensorInfo& tensor = require(name);
    detail::require_part(path_, tensor, first_element, static_cast<Index>(values.size()), tensor.elements(),
                         "elements");
    if (!is_writable(tensor.type))
      throw Error{"moepar: tensor " + detail::shown_name(name) + " in '" + path_ + "' is of type " +
                  std::string{name_of(tensor.type)} +
                  ", which floats are not written as. Fix: declare it F32, BF16 or F16, or use write_bytes()."};
    std::vector<std::byte> bytes;
    while (!values.empty()) {
      const auto part = values.first(std::min(values.size(), detail::conversion_piece));
      bytes.resize(static_cast<std::size_t>(detail::element_byte(tensor, static_cast<Index>(part.size()))));
      from_floats(tensor.type, part, bytes.data());
      write_bytes(name, detail::element_byte(tensor, first_element), bytes);
      first_element += static_cast<Index>(part.size());
      values = values.subspan(part.size());
    }
  }

  //! Writes bytes of tensor `name` from its byte `first_byte` on, for every type.
  void write_bytes(std::string_view name, Index first_byte, std::span<const std::byte> bytes) {
    const TensorInfo& tensor = require(name);
    detail::require_part(path_, tensor, first_byte, static_cast<Index>(bytes.size()), tensor.bytes(), "bytes");
    file_.write_at(bytes, static_cast<Index>(header_.data_begin + tensor.begin) + first_byte);
  }

  //! Ends a joined writer once its parts are on the disk; reports what the system says.
  void close() {
    file_.sync();
    file_.close();
  }

  //! Brings the file to the disk and gives it its name, in place of one that had it. Only for the creator, and only
  //! after all others have closed.
  void finish() {
    if (!unfinished_)
      throw Error{"moepar: '" + path_ +
                  "' was finished by a writer that did not create it, or twice. Fix: let the "
                  "creator finish it, once."};
    close();
    replace_file(file_.path(), path_);
    unfinished_ = false;
    sync_folder(path_.substr(0, path_.rfind('/') + 1));
  }

 private:
  TensorFileWriter(std::string path, TensorHeader header, DiskFile file, bool creator)
      : path_{std::move(path)},
        header_{std::move(header)},
        names_{header_.tensors},
        file_{std::move(file)},
        unfinished_{creator} {}

  const TensorInfo& require(std::string_view name) const {
    const TensorInfo* const tensor = names_.find(header_.tensors, name);
    if (tensor == nullptr)
      throw Error{"moepar: tensor " + detail::shown_name(name) + " was written to '" + path_ +
                  "', which was created without it. Fix: name it among the entries."};
    return *tensor;
  }

  std::string path_;
  TensorHeader header_;
  detail::TensorNames names_;
  DiskFile file_;
  bool unfinished_;
};

}  // namespace moepar
