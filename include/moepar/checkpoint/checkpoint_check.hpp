// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <moepar/checkpoint/disk_file.hpp>
#include <moepar/checkpoint/hash128.hpp>
#include <moepar/checkpoint/manifest.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moepar {

//! A part with the tensor it belongs to; both stay in the manifest.
struct PlacedPart {
  const ManifestTensor* tensor = nullptr;
  const ManifestPart* part = nullptr;
  [[nodiscard]] Index bytes() const { return 4 * part->count; }
};

//! All parts in the order in which they lie in the files.
inline std::vector<PlacedPart> placed_parts(const Manifest& manifest) {
  std::vector<PlacedPart> parts;
  for (const ManifestTensor& tensor : manifest.tensors)
    for (const ManifestPart& part : tensor.parts) parts.push_back({&tensor, &part});
  std::sort(parts.begin(), parts.end(), [](const PlacedPart& a, const PlacedPart& b) {
    return a.part->file != b.part->file ? a.part->file < b.part->file : a.part->begin < b.part->begin;
  });
  return parts;
}

//! "model.norm.weight (first_moment)"
inline std::string text_of(const ManifestTensor& tensor) {
  std::string text = tensor.name + " (";
  return (text += tensor_kinds[static_cast<std::size_t>(tensor.kind)]) += ')';
}

//! Compares the files of one checkpoint with its manifest, through one buffer. One thread.
class CheckpointCheck {
 public:
  static constexpr std::size_t buffer_bytes = std::size_t{1} << 20;

  //! folder: of the checkpoint. The manifest must outlive this.
  CheckpointCheck(std::string folder, const Manifest& manifest)
      : folder_{std::move(folder)}, manifest_{&manifest}, buffer_(buffer_bytes) {}

  //! Bytes of the largest piece that was in memory at once.
  [[nodiscard]] Index largest_piece() const { return largest_; }

  //! What is wrong with the size or the header of file number `file`, as a sentence; nothing when they are right.
  std::optional<std::string> fault_of_file(Index file) {
    const ManifestFile& expected = manifest_->files[static_cast<std::size_t>(file)];
    return fault([&]() -> std::optional<std::string> {
      if (const Index size = open(file).size(); size != expected.bytes)
        return "moepar: " + path(file) + " has " + std::to_string(size) + " bytes, the manifest says " +
               std::to_string(expected.bytes) + fix;
      return compare("the header of " + path(file), file, 0, expected.header_bytes, expected.header_hash);
    });
  }

  //! What is wrong with the bytes of a part.
  std::optional<std::string> fault_of_part(const PlacedPart& placed) {
    return fault([&] {
      const ManifestPart& part = *placed.part;
      return compare("the tensor " + text_of(*placed.tensor), part.file, part.begin, placed.bytes(), part.hash);
    });
  }

  [[nodiscard]] std::string path(Index file) const {
    return folder_ + '/' + manifest_->files[static_cast<std::size_t>(file)].name;
  }

 private:
  static constexpr const char* fix = ". Fix: take another checkpoint, or get this file again.";

  //! A file that cannot be read is a fault too.
  template <class Check> static std::optional<std::string> fault(Check check) {
    try {
      return check();
    } catch (const Error& error) {
      return error.what();
    }
  }
  const DiskFile& open(Index file) {
    if (open_ != file) {
      open_ = -1;
      file_ = DiskFile::open(path(file));
      open_ = file;
    }
    return *file_;
  }
  std::optional<std::string> compare(const std::string& what, Index file, Index begin, Index bytes,
                                     const Hash128& expected) {
    Hasher128 hasher;
    for (Index done = 0; done < bytes;) {
      const Index piece = std::min(bytes - done, static_cast<Index>(buffer_.size()));
      largest_ = std::max(largest_, piece);
      const auto at = std::span{buffer_}.first(static_cast<std::size_t>(piece));
      open(file).read_at(at, begin + done);
      hasher.add(at);
      done += piece;
    }
    if (hasher.hash() == expected) return {};
    return "moepar: " + what + " is corrupt: bytes " + std::to_string(begin) + " to " + std::to_string(begin + bytes) +
           " of " + path(file) + " have the hash " + text_of(hasher.hash()) + ", the manifest says " +
           text_of(expected) + fix;
  }

  std::string folder_;
  const Manifest* manifest_;
  std::vector<std::byte> buffer_;
  std::optional<DiskFile> file_;
  Index open_ = -1;
  Index largest_ = 0;
};

}  // namespace moepar
