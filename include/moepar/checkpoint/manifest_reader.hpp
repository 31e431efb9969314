// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <moepar/checkpoint/disk_file.hpp>
#include <moepar/checkpoint/hash128.hpp>
#include <moepar/checkpoint/manifest.hpp>
#include <moepar/checkpoint/manifest_cursor.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/shard.hpp>
#include <optional>
#include <set>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace moepar {
namespace detail {

inline constexpr Index largest_side = Index{1} << 31, largest_file = Index{1} << 60;

inline ManifestTensor read_manifest_tensor(ManifestCursor& cursor, const std::vector<ManifestFile>& files) {
  ManifestTensor tensor;
  cursor.expect("{\"name\":");
  tensor.name = cursor.text();
  cursor.expect(",\"kind\":\"");
  std::size_t kind = 0;
  while (kind < tensor_kinds.size() && !cursor.take(tensor_kinds[kind])) ++kind;
  if (kind == tensor_kinds.size()) cursor.refuse("has a kind of tensor that there is not");
  tensor.kind = static_cast<TensorKind>(kind);
  tensor.columns = cursor.number("\",\"shape\":[", 1, largest_side);
  if (cursor.take(",")) {
    tensor.rows = tensor.columns;
    tensor.columns = cursor.number("", 1, largest_side);
  }
  cursor.expect("],\"parts\":[");
  const Index size = tensor.rows * tensor.columns;
  for (Index at = 0; at < size;) {
    ManifestPart part;
    cursor.expect(at == 0 ? "\n" : ",\n");
    part.file = cursor.number("{\"file\":", 0, static_cast<Index>(files.size()) - 1);
    part.first = cursor.number(",\"first\":", at, at);
    part.count = cursor.number(",\"count\":", 1, size - at);
    const ManifestFile& file = files[static_cast<std::size_t>(part.file)];
    part.begin = cursor.number(",\"begin\":", file.header_bytes, file.bytes);
    if ((file.bytes - part.begin) / 4 < part.count) cursor.refuse("has a part that is longer than its file");
    part.hash = cursor.hash(",\"xxh3_128\":\"");
    cursor.expect("}");
    at += part.count;
    tensor.parts.push_back(part);
  }
  cursor.expect("]}");
  return tensor;
}

//! Every byte of every file belongs to its header or to one part, and no tensor is there twice.
inline void require_complete(const Manifest& manifest, const ManifestCursor& cursor) {
  std::set<std::pair<std::string_view, TensorKind>> names;
  std::vector<std::vector<Range>> ranges(manifest.files.size());
  for (const ManifestTensor& tensor : manifest.tensors) {
    if (!names.insert({tensor.name, tensor.kind}).second) cursor.refuse("has the tensor " + tensor.name + " twice");
    for (const ManifestPart& part : tensor.parts)
      ranges[static_cast<std::size_t>(part.file)].push_back({part.begin, part.begin + 4 * part.count});
  }
  for (std::size_t i = 0; i < ranges.size(); ++i) {
    std::sort(ranges[i].begin(), ranges[i].end(), [](const Range& a, const Range& b) { return a.begin < b.begin; });
    Index at = manifest.files[i].header_bytes;
    for (const Range& range : ranges[i]) {
      if (range.begin != at) cursor.refuse("has parts that leave a gap or overlap in " + manifest.files[i].name);
      at = range.end;
    }
    if (at != manifest.files[i].bytes) cursor.refuse("has too few parts for the bytes of " + manifest.files[i].name);
  }
}

}  // namespace detail

//! A manifest from its text. path: for errors. Throws Error for anything that manifest_text could not have written: a
//! wrong hash, another version, another form, parts that do not make up their tensors and files exactly.
inline Manifest manifest_of_text(std::string_view text, const std::string& path) {
  detail::ManifestCursor cursor{text, path};
  if (text.size() < detail::manifest_hash_line) cursor.refuse("is too short");
  const std::string_view body = text.substr(0, text.size() - detail::manifest_hash_line);
  detail::ManifestCursor last{text.substr(body.size()), path};
  const Hash128 written = last.hash(detail::manifest_hash_begin);
  last.expect(detail::manifest_hash_end.substr(1));
  if (const Hash128 found = hash128(body); found != written)
    cursor.refuse("is corrupt: it has the hash " + text_of(found) + ", its last line says " + text_of(written));

  Manifest manifest;
  const Index most = detail::largest_file;
  const Index version = cursor.number("{\"format\":\"moepar-training\",\"version\":", 0, most);
  if (version != manifest_version)
    throw Error{"moepar: the manifest " + path + " has version " + std::to_string(version) +
                ", this program reads version " + std::to_string(manifest_version) +
                ". Fix: use the release of moepar that wrote it."};
  manifest.bits = cursor.number(",\n\"bits_version\":", 0, most);
  manifest.step = cursor.number(",\n\"step\":", 0, most);
  const Index world = manifest.layout.world = cursor.number(",\n\"layout\":{\"world\":", 1, Index{1} << 24);
  manifest.layout.tensor = cursor.number(",\"tensor\":", 1, world);
  manifest.layout.expert = cursor.number(",\"expert\":", 1, world);
  manifest.layout.dense_shard = cursor.number(",\"dense_shard\":", 1, world);
  manifest.layout.expert_shard = cursor.number(",\"expert_shard\":", 1, world);
  cursor.expect(",\"expert_axis\":\"");
  if (cursor.take("outermost"))
    manifest.layout.expert_axis = ExpertAxis::outermost;
  else
    cursor.expect("innermost");
  manifest.beta1_power = cursor.power("\"},\n\"optimizer\":{\"name\":\"AdamW\",\"beta1_power\":");
  manifest.beta2_power = cursor.power(",\"beta2_power\":");
  cursor.expect("},\n\"facts\":{");
  while (!cursor.take("},\n\"files\":[")) {
    cursor.expect(manifest.facts.empty() ? "\n" : ",\n");
    std::string name = cursor.text();
    cursor.expect(":");
    manifest.facts.emplace_back(std::move(name), cursor.text());
  }
  for (Index rank = 0; rank < world; ++rank) {
    ManifestFile file{.name = part_file_name(rank)};
    cursor.expect(rank == 0 ? "\n" : ",\n");
    cursor.expect("{\"name\":\"" + file.name + "\"");
    file.bytes = cursor.number(",\"bytes\":", 8, most);
    file.header_bytes = cursor.number(",\"header_bytes\":", 8, file.bytes);
    file.header_hash = cursor.hash(",\"header_xxh3_128\":\"");
    cursor.expect("}");
    manifest.files.push_back(std::move(file));
  }
  cursor.expect("],\n\"tensors\":[");
  while (!cursor.take("],\n")) {
    cursor.expect(manifest.tensors.empty() ? "\n" : ",\n");
    manifest.tensors.push_back(detail::read_manifest_tensor(cursor, manifest.files));
  }
  detail::require_complete(manifest, cursor);
  // One form only: no zeros in front, no other escapes, nothing after the tensors.
  if (manifest_text(manifest) != text) cursor.refuse("is not in the form that moepar writes");
  return manifest;
}

//! The manifest of the checkpoint in `folder`, its files not yet looked at. Throws Error where it cannot be read, is
//! longer than `limit` bytes, or as manifest_of_text does.
inline Manifest read_manifest(const std::string& folder, Index limit = 2_GiB) {
  const std::string path = folder + "/manifest.json";
  const DiskFile file = DiskFile::open(path);
  const Index size = file.size();
  if (size > limit)
    throw Error{"moepar: the manifest " + path + " has " + std::to_string(size) + " bytes, more than the limit of " +
                std::to_string(limit) + ". Fix: take another checkpoint, or raise the limit."};
  std::string text(static_cast<std::size_t>(size), '\0');
  file.read_at(std::as_writable_bytes(std::span{text}), 0);
  return manifest_of_text(text, path);
}

}  // namespace moepar
