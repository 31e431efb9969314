// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <span>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include <moepar/checkpoint/disk_file.hpp>
#include <moepar/checkpoint/json_string.hpp>
#include <moepar/checkpoint/tensor_file.hpp>
#include <moepar/checkpoint/tensor_header.hpp>
#include <moepar/checkpoint/tensor_index.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>

namespace moepar {

//! The weights of a Hugging Face folder (model.safetensors, or several files under model.safetensors.index.json), or
//! one .safetensors file by its path. All headers are read and checked at once, data when asked for. Several threads
//! may read from one ModelFolder.
class ModelFolder {
 public:
  //! A tensor and the file that holds it, a place in files().
  struct Tensor {
    std::size_t file;
    const TensorInfo* info;
  };

  //! Throws Error where the folder holds no weights or files that contradict one another: a tensor of the index that is
  //! not in its file, or the reverse.
  explicit ModelFolder(const std::string& path) : path_{path} {
    namespace fs = std::filesystem;
    std::error_code absent;
    if (fs::is_directory(path, absent)) {
      const std::string single = path + "/model.safetensors", index = single + ".index.json";
      const bool has_single = fs::exists(single, absent), has_index = fs::exists(index, absent);
      if (!has_single && !has_index)
        throw Error{"moepar: folder '" + path +
                    "' holds neither model.safetensors nor model.safetensors.index.json. Fix: name a folder that "
                    "Hugging Face's save_pretrained wrote with safe_serialization."};
      if (has_index)
        open_index(index, has_single);
      else
        files_.emplace_back(single);
    } else {
      files_.emplace_back(path);
    }
    list();
  }

  [[nodiscard]] const std::string& path() const noexcept { return path_; }
  [[nodiscard]] const std::vector<TensorFileReader>& files() const noexcept { return files_; }

  //! All tensors of all files, by name.
  [[nodiscard]] const std::vector<Tensor>& tensors() const noexcept { return tensors_; }

  //! The tensor of this name; nullptr where there is none.
  [[nodiscard]] const Tensor* find(std::string_view name) const {
    const auto at =
        std::lower_bound(tensors_.begin(), tensors_.end(), name,
                         [](const Tensor& tensor, std::string_view text) { return tensor.info->name < text; });
    return at == tensors_.end() || at->info->name != name ? nullptr : &*at;
  }

  //! Reads elements of a tensor of this folder, as TensorFileReader::read().
  void read(const Tensor& tensor, Index first_element, std::span<float> values) const {
    files_[tensor.file].read(*tensor.info, first_element, values);
  }

 private:
  static constexpr Index largest_index = 100'000'000;

  void open_index(const std::string& path, bool has_single) {
    const DiskFile file = DiskFile::open(path);
    if (file.size() > largest_index)
      throw Error{"moepar: '" + path + "' has " + std::to_string(file.size()) + " bytes, the most is " +
                  std::to_string(largest_index) + ". Fix: get the file again; this is no index."};
    std::string text(static_cast<std::size_t>(file.size()), '\0');
    file.read_at(std::as_writable_bytes(std::span{text}), 0);
    const TensorIndex index = parse_tensor_index(text, path);

    std::vector<std::string> names;
    for (const TensorIndex::Place& place : index.places) names.push_back(place.file);
    std::sort(names.begin(), names.end());
    names.erase(std::unique(names.begin(), names.end()), names.end());
    if (has_single && std::find(names.begin(), names.end(), "model.safetensors") == names.end())
      throw Error{"moepar: folder '" + path_ +
                  "' holds model.safetensors beside an index that does not name it: two models. Fix: remove the one "
                  "that is not meant."};
    files_.reserve(names.size());
    for (const std::string& name : names) files_.emplace_back(path_ + "/" + name);
    for (const TensorIndex::Place& place : index.places) {
      const auto at = std::lower_bound(names.begin(), names.end(), place.file) - names.begin();
      if (files_[static_cast<std::size_t>(at)].find(place.tensor) == nullptr)
        refuse("tensor " + detail::shown_name(place.tensor) + " is not in file " + place.file + ", where '" + path +
               "' has it");
    }
    std::size_t held = 0;
    for (const TensorFileReader& reader : files_) held += reader.header().tensors.size();
    if (held != index.places.size()) name_unlisted(index, path);
  }

  //! Every place of the index is true, and the files hold more.
  void name_unlisted(const TensorIndex& index, const std::string& path) const {
    for (const TensorFileReader& reader : files_)
      for (const TensorInfo& tensor : reader.header().tensors) {
        const auto place =
            std::lower_bound(index.places.begin(), index.places.end(), tensor.name,
                             [](const TensorIndex::Place& a, const std::string& name) { return a.tensor < name; });
        const bool listed = place != index.places.end() && place->tensor == tensor.name;
        if (!listed || !reader.path().ends_with("/" + place->file))
          refuse("tensor " + detail::shown_name(tensor.name) + " is in '" + reader.path() + "', where '" + path +
                 "' does not have it");
      }
  }

  [[noreturn]] static void refuse(const std::string& problem) {
    throw Error{"moepar: " + problem + ". Fix: get index and files from one source again."};
  }

  void list() {
    for (std::size_t file = 0; file < files_.size(); ++file)
      for (const TensorInfo& tensor : files_[file].header().tensors) tensors_.push_back({file, &tensor});
    std::sort(tensors_.begin(), tensors_.end(),
              [](const Tensor& a, const Tensor& b) { return a.info->name < b.info->name; });
  }

  std::string path_;
  std::vector<TensorFileReader> files_;
  std::vector<Tensor> tensors_;  // into files_, which no longer changes
};

}  // namespace moepar
