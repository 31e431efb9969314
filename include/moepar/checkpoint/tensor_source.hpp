// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moepar/checkpoint/expert_name.hpp>
#include <moepar/checkpoint/json_string.hpp>
#include <moepar/checkpoint/model_folder.hpp>
#include <moepar/checkpoint/tensor_header.hpp>
#include <moepar/checkpoint/tensor_names.hpp>
#include <moepar/checkpoint/tensor_type.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>

namespace moepar {

//! Elements of one tensor of a folder, one after another, that make up a parameter.
struct TensorSlice {
  std::size_t file;    //!< of ModelFolder::files()
  std::size_t tensor;  //!< of ModelFolder::tensors()
  Index first_element;
  Index elements;
};

//! The tensors of a Mixtral by their classic names (model.layers.0.block_sparse_moe.experts.3.w1.weight), whichever way
//! a folder holds them: classic, or with the experts of a layer in one tensor as transformers 5 keeps them
//! (mlp.experts.gate_up_proj [E, 2f, h], mlp.experts.down_proj [E, h, f], mlp.gate.weight). Shapes must match exactly.
//! Remembers what was asked for, so that nothing of a checkpoint is left out without a word. The folder must outlive
//! it.
class MixtralTensors {
 public:
  explicit MixtralTensors(const ModelFolder& folder) : folder_{&folder}, used_(folder.tensors().size()) {}

  //! The elements of parameter `name`, `rows` x `columns` (a vector has one row), of which there are `copies_total`:
  //! the experts of a layer for w1, w2 and w3, else 1. Throws Error where it is missing, has another shape, or is of a
  //! type that is not read.
  [[nodiscard]] TensorSlice resolve(std::string_view name, Index rows, Index columns, Index copies_total = 1) {
    const std::optional<detail::ExpertName> expert = detail::expert_name(name);
    if (expert && expert->expert >= copies_total)
      throw Error{"moepar: tensor " + detail::shown_name(name) + " was asked for of a layer with " +
                  std::to_string(copies_total) + " experts. Fix: count experts from 0."};
    if (const auto* const tensor = folder_->find(name)) return whole(*tensor, rows, columns);
    if (const std::string gate = detail::fused_gate_name(name); !gate.empty())
      if (const auto* const tensor = folder_->find(gate)) return whole(*tensor, rows, columns);
    if (expert && folder_->find(expert->fused("gate_up_proj")) != nullptr)
      return part(*expert, rows, columns, copies_total);
    throw Error{"moepar: tensor " + detail::shown_name(name) + " is missing in '" + folder_->path() +
                "'. Fix: name the folder of a Mixtral of this shape."};
  }

  //! A parameter that is used in two places and stored under either name or both, which must then hold the same bytes.
  [[nodiscard]] TensorSlice resolve_tied(std::string_view name, std::string_view other, Index rows, Index columns) {
    const bool first = folder_->find(name) != nullptr, second = folder_->find(other) != nullptr;
    if (!first || !second) return resolve(second ? other : name, rows, columns);
    const TensorSlice slice = resolve(name, rows, columns), twin = resolve(other, rows, columns);
    if (!same_bytes(slice, twin))
      throw Error{"moepar: tensors " + detail::shown_name(name) + " and " + detail::shown_name(other) + " in '" +
                  folder_->path() +
                  "' differ, but the model uses one parameter for both. Fix: set tie_word_embeddings to false."};
    return slice;
  }

  //! Reads values.size() elements of a slice from its element `first` on.
  void read(const TensorSlice& slice, Index first, std::span<float> values) const {
    const ModelFolder::Tensor& tensor = folder_->tensors()[slice.tensor];
    detail::require_part(folder_->path(), *tensor.info, first, static_cast<Index>(values.size()), slice.elements,
                         "elements of a part");
    folder_->read(tensor, slice.first_element + first, values);
  }

  //! Throws Error where the folder holds tensors, or parts of tensors, that nobody asked for: it is of another model
  //! (more layers, more experts). Rotary frequencies, which old files hold, follow from the configuration.
  void require_all_used() const {
    constexpr std::size_t most_named = 5;
    std::size_t surplus = 0;
    std::string names;
    for (std::size_t i = 0; i < used_.size(); ++i) {
      const std::string& name = folder_->tensors()[i].info->name;
      const auto count = static_cast<std::size_t>(std::count(used_[i].begin(), used_[i].end(), true));
      if ((count > 0 && count == used_[i].size()) || name.ends_with(".rotary_emb.inv_freq")) continue;
      if (++surplus > most_named) continue;
      names += (names.empty() ? "" : ", ") + detail::shown_name(name);
      if (count > 0) names += " (" + std::to_string(count) + " of " + std::to_string(used_[i].size()) + " parts used)";
    }
    if (surplus == 0) return;
    throw Error{"moepar: '" + folder_->path() + "' holds " + std::to_string(surplus) +
                " tensors that the model has no place for: " + names + (surplus > most_named ? ", ..." : "") +
                ". Fix: give the model the layers and experts of the checkpoint's config.json."};
  }

 private:
  using Shape = std::vector<std::uint64_t>;

  static std::uint64_t extent(Index size) { return static_cast<std::uint64_t>(size); }

  //! Throws unless `tensor` has this shape and can be read; `hint` is a sentence that helps.
  void require(const TensorInfo& tensor, const Shape& shape, const std::string& hint = {}) const {
    if (tensor.shape != shape)
      throw Error{"moepar: tensor " + detail::shown_name(tensor.name) + " in '" + folder_->path() + "' has the shape " +
                  detail::shown_shape(tensor.shape) + ", the model needs " + detail::shown_shape(shape) + hint +
                  ". Fix: give the model the sizes of the checkpoint's config.json."};
    if (!is_readable(tensor.type))
      throw Error{"moepar: tensor " + detail::shown_name(tensor.name) + " in '" + folder_->path() + "' is of type " +
                  std::string{name_of(tensor.type)} +
                  ", which is not read. Fix: convert the checkpoint to F32, BF16 or F16; quantised ones are not read."};
  }

  //! Part `index` of `parts` equal ones of a tensor, which from now on counts as used.
  TensorSlice use(const ModelFolder::Tensor& tensor, std::size_t index, std::size_t parts) {
    const auto at = static_cast<std::size_t>(&tensor - folder_->tensors().data());
    used_[at].resize(parts);
    used_[at][index] = true;
    const Index elements = tensor.info->elements() / static_cast<Index>(parts);
    return {tensor.file, at, elements * static_cast<Index>(index), elements};
  }

  TensorSlice whole(const ModelFolder::Tensor& tensor, Index rows, Index columns) {
    const bool vector =
        rows == 1 && tensor.info->shape.size() == 1;  // else a matrix of one row: a single expert's gate
    require(*tensor.info, vector ? Shape{extent(columns)} : Shape{extent(rows), extent(columns)});
    return use(tensor, 0, 1);
  }

  //! Both tensors of the layer are checked, whichever is asked for: one of them may be square, so that its shape alone
  //! does not tell the usual form from the transposed one, but never both.
  TensorSlice part(const detail::ExpertName& name, Index rows, Index columns, Index experts) {
    const Index hidden = name.matrix == '2' ? rows : columns, width = name.matrix == '2' ? columns : rows;
    const std::uint64_t e = extent(experts), h = extent(hidden), f = extent(width);
    const ModelFolder::Tensor& gate_up = *folder_->find(name.fused("gate_up_proj"));
    const ModelFolder::Tensor* const down = folder_->find(name.fused("down_proj"));
    if (down == nullptr)
      throw Error{"moepar: tensor " + detail::shown_name(name.fused("down_proj")) + " is missing in '" +
                  folder_->path() + "', which holds its gate_up_proj. Fix: get the whole checkpoint."};
    const auto hint = [](const TensorInfo& tensor, const Shape& transposed) {
      return tensor.shape == transposed ? std::string{": it is stored transposed, as some libraries do, and that form "
                                                      "is not read"}
                                        : std::string{};
    };
    require(*gate_up.info, {e, 2 * f, h}, hint(*gate_up.info, {e, h, 2 * f}));
    require(*down->info, {e, h, f}, hint(*down->info, {e, f, h}));
    const auto expert = static_cast<std::size_t>(name.expert), count = static_cast<std::size_t>(experts);
    if (name.matrix == '2') return use(*down, expert, count);
    return use(gate_up, 2 * expert + (name.matrix == '3' ? 1 : 0), 2 * count);
  }

  [[nodiscard]] bool same_bytes(const TensorSlice& a, const TensorSlice& b) const {
    const TensorInfo& left = *folder_->tensors()[a.tensor].info;
    const TensorInfo& right = *folder_->tensors()[b.tensor].info;
    if (left.type != right.type || left.bytes() != right.bytes()) return false;
    constexpr Index piece = 1_MiB;
    std::vector<std::byte> bytes, twins;
    for (Index at = 0; at < left.bytes(); at += piece) {
      bytes.resize(static_cast<std::size_t>(std::min(piece, left.bytes() - at)));
      twins.resize(bytes.size());
      folder_->files()[a.file].read_bytes(left, at, bytes);
      folder_->files()[b.file].read_bytes(right, at, twins);
      if (bytes != twins) return false;
    }
    return true;
  }

  const ModelFolder* folder_;
  std::vector<std::vector<bool>> used_;  // [tensor][part]
};

}  // namespace moepar
