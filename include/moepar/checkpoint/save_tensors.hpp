// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <memory>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/nn/path.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/tensor/parameter.hpp>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace moepar {
namespace detail {

//! A module of one bound parameter, to gather it alone.
struct OneParameter {
  Parameter parameter;
  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("", self.parameter);
  }
};

//! A safetensors file in the making: a temporary file beside the place it will have.
class TensorFile {
 public:
  struct Entry {
    std::string name;
    Index rows, columns;
    Index begin = 0;  //!< byte in the data
  };

  //! entries: all tensors, f32. Throws Error when the file cannot be made.
  TensorFile(std::filesystem::path path, std::vector<Entry> entries)
      : path_{std::move(path)}, entries_{std::move(entries)} {
    std::sort(entries_.begin(), entries_.end(), [](const Entry& a, const Entry& b) { return a.name < b.name; });
    std::string header = "{";
    Index at = 0;
    for (Entry& entry : entries_) {
      entry.begin = at;
      at += entry.rows * entry.columns * 4;
      header += (header.size() > 1 ? "," : "") + ('"' + entry.name) + "\":{\"dtype\":\"F32\",\"shape\":[" +
                (entry.rows == 1 ? "" : std::to_string(entry.rows) + ",") + std::to_string(entry.columns) +
                "],\"data_offsets\":[" + std::to_string(entry.begin) + "," + std::to_string(at) + "]}";
    }
    header += '}';
    header.append((8 - header.size() % 8) % 8, ' ');
    data_begin_ = 8 + static_cast<Index>(header.size());
    temporary_ = path_.string() + ".partial";
    file_.reset(std::fopen(temporary_.c_str(), "wb"));
    if (!file_) refuse("opened");
    const std::uint64_t size = header.size();
    unsigned char length[8];
    for (int i = 0; i < 8; ++i) length[i] = static_cast<unsigned char>(size >> (8 * i));
    put(length, sizeof length);
    put(header.data(), header.size());
  }
  ~TensorFile() {
    if (!file_) return;
    file_.reset();
    std::error_code ignored;
    std::filesystem::remove(temporary_, ignored);
  }
  TensorFile(const TensorFile&) = delete;
  TensorFile& operator=(const TensorFile&) = delete;

  //! The values of tensor `name`, row-major. Throws Error when they cannot be written.
  void write(const std::string& name, std::span<const float> values) {
    const auto entry = std::find_if(entries_.begin(), entries_.end(), [&](const Entry& e) { return e.name == name; });
    if (std::fseek(file_.get(), static_cast<long>(data_begin_ + entry->begin), SEEK_SET) != 0) refuse("written");
    put(values.data(), values.size_bytes());
  }

  //! Closes the file and gives it its name.
  void finish() {
    std::error_code error;
    if (std::fclose(file_.release()) != 0) error = std::make_error_code(std::errc::io_error);
    if (!error) std::filesystem::rename(temporary_, path_, error);
    if (!error) return;
    std::error_code ignored;
    std::filesystem::remove(temporary_, ignored);
    refuse("written (" + error.message() + ")");
  }

 private:
  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  void put(const void* data, std::size_t bytes) {
    if (bytes > 0 && std::fwrite(data, 1, bytes, file_.get()) != bytes) refuse("written");
  }
  [[noreturn]] void refuse(const std::string& what) const {
    throw Error{"moepar: the checkpoint " + path_.string() + " could not be " + what +
                ". Fix: check that the folder exists and may be written, and that the disk has room."};
  }

  std::filesystem::path path_;
  std::string temporary_;
  std::vector<Entry> entries_;
  Index data_begin_ = 0;
  std::unique_ptr<std::FILE, Close> file_;
};

}  // namespace detail

//! Writes the parameters of a model into one safetensors file, f32, under their Hugging Face names. Called by all
//! ranks; rank 0 writes, and holds one layer at a time. An error on it ends all ranks; a file that is there stays as it
//! was until the new one is whole.
template <class Rank, class Model>
void save_tensors(Rank& rank, const Model& model, const std::filesystem::path& path) {
  std::unique_ptr<detail::TensorFile> file;
  if (rank.rank() == 0) {
    std::vector<detail::TensorFile::Entry> entries;
    for_each_parameter(model, [&](const Site& site, const Parameter& parameter) {
      for (Index copy = 0; copy < site.copies; ++copy)
        entries.push_back({site.name(copy), parameter.rows, parameter.columns});
    });
    file = std::make_unique<detail::TensorFile>(path, std::move(entries));
  }
  std::vector<float> all;
  for_each_parameter(model, [&](const Site& site, const Parameter& parameter) {
    const detail::OneParameter alone{parameter};
    rank.with_parameters(alone, [&] {
      const auto weights = rank.weights(parameter);
      const auto own = static_cast<std::size_t>(weights.size());
      all.resize(own * static_cast<std::size_t>(site.copies / parameter.copies));
      std::copy_n(weights.data, own, all.begin());
      if constexpr (Rank::communicates)
        if (site.copies > parameter.copies)
          rank.axes().expert.all_gather(std::span<const float>{weights.data, own}, std::span<float>{all});
      if (!file) return;
      const auto size = static_cast<std::size_t>(parameter.size());
      for (Index copy = 0; copy < site.copies; ++copy)
        file->write(site.name(copy), std::span{all}.subspan(static_cast<std::size_t>(copy) * size, size));
    });
  });
  if (file) file->finish();
  if constexpr (Rank::communicates) rank.axes().world.barrier();  // nobody goes on before the file is there
}

}  // namespace moepar
