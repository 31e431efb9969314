// SPDX-License-Identifier: Apache-2.0
#pragma once
// A small model with stacked experts, of values that say where they are, for the tests of checkpoints: no step is run.
#include <algorithm>
#include <atomic>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <moepar/checkpoint/checkpoint_loader.hpp>
#include <moepar/checkpoint/checkpoint_writer.hpp>
#include <moepar/checkpoint/verify_checkpoint.hpp>
#include <moepar/comm/threads/thread_world.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/nn/bind.hpp>
#include <moepar/optim/adam_w.hpp>
#include <moepar/optim/parameter_list.hpp>
#include <moepar/parallel/expert_parallel.hpp>
#include <moepar/parallel/host_rank.hpp>
#include <moepar/topology/layout.hpp>
#include <string>
#include <string_view>
#include <vector>

namespace training_case {

namespace mp = moepar;
using mp::Index;

//! Its parameters are no multiples of a block of 1024 elements, some are smaller than one.
struct Expert {
  mp::Parameter w1{30, 45}, w2{45, 30};
  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("w1.weight", self.w1);
    walk("w2.weight", self.w2);
  }
};
struct Inside {
  mp::Parameter embedding{61, 40}, norm{1, 40};
  Expert experts{};
  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("embed.weight", self.embedding);
    walk("norm.weight", self.norm);
    walk.stacked("experts", 8, self.experts);
  }
};
struct Model {
  Inside inside{};
  mp::Parameter head{40, 61};  // outside of what is sharded: whole on every rank
  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk.sharded(1, 1, self.inside);
    walk("head.weight", self.head);
    walk.tied("again.weight", self.head, self.head);
  }
};
inline constexpr Index tensors = 3 * (3 + 16);

//! One rank of a training that does not train.
template <class ModelType = Model> struct Training {
  template <class Connection>
  Training(Connection& connection, const mp::Layout& layout)
      : rank{layout,
             connection.rank(),
             {.sequences = 1, .length = 1},
             mp::bind_parameters(model, layout, connection.rank()),
             {},
             mp::make_axes(connection, layout)},
        parameters{mp::list_parameters(model, layout, connection.rank())},
        optimizer{rank} {}

  using Rank = mp::HostRank<float, mp::ThreadCommunicator>;
  mp::TrainingState<Rank, ModelType> state() { return {rank, model, parameters, optimizer}; }

  //! Calls visit(value, name of tensor with kind, flat index) for everything that is kept.
  template <class Visit> void for_each_value(Visit visit) {
    for (const auto& listed : parameters) {
      const std::span<float> kept[] = {rank.kept(listed.parameter), optimizer.first(listed.parameter, rank),
                                       optimizer.second(listed.parameter, rank)};
      for (std::size_t kind = 0; kind < 3; ++kind)
        listed.for_each_run([&](Index copy, Index first, Index count, Index at) {
          const std::string name = listed.names[static_cast<std::size_t>(copy)] + std::string{mp::tensor_kinds[kind]};
          for (Index i = 0; i < count; ++i) visit(kept[kind][static_cast<std::size_t>(at + i)], name, first + i);
        });
    }
  }
  static float value(const std::string& name, Index index, Index step) {
    const std::uint64_t bits = mp::element_hash(mp::fnv1a(name), index, static_cast<double>(step));
    return std::bit_cast<float>(static_cast<std::uint32_t>(bits) & 0xbfffffff);  // finite
  }
  //! The values that a run has after `step` steps.
  void set(Index step) {
    for_each_value([&](float& to, const std::string& name, Index index) { to = value(name, index, step); });
    for (const auto& listed : parameters) mp::copy_to_uses(rank, listed);
    optimizer.restore(step, 1.0 / (1.0 + static_cast<double>(step)), 1.0 / 3.0);
  }
  void clear() {
    for_each_value([&](float& to, const std::string&, Index) { to = -7; });
    optimizer.restore(0, 1, 1);
  }
  //! Elements that are not as set(step) leaves them.
  Index wrong(Index step) {
    Index count = 0;
    for_each_value([&](float& is, const std::string& name, Index index) {
      count += std::bit_cast<std::uint32_t>(is) != std::bit_cast<std::uint32_t>(value(name, index, step));
    });
    for (const auto& listed : parameters)
      for (const auto& use : listed.uses)
        count += !std::equal(rank.kept(use).begin(), rank.kept(use).end(), rank.kept(listed.parameter).begin());
    count += optimizer.steps() != step || optimizer.beta1_power() != 1.0 / (1.0 + static_cast<double>(step)) ||
             optimizer.beta2_power() != 1.0 / 3.0;
    return count;
  }

  ModelType model{};
  Rank rank;
  std::vector<mp::ListedParameter> parameters;
  mp::AdamWState optimizer;
};

//! Runs body(training) on every rank of a layout.
template <class ModelType = Model, class Body>
void on_ranks(const mp::Layout& layout, Body body, std::chrono::milliseconds deadline = std::chrono::seconds{30}) {
  mp::ThreadWorld world{layout.world, deadline};
  world.run([&](auto& connection) {
    Training<ModelType> training{connection, layout};
    body(training);
  });
}

//! Every legal layout of `world` ranks for 8 experts, dense and experts sharded apart too.
inline std::vector<mp::Layout> layouts_of(Index world) {
  std::vector<mp::Layout> layouts;
  for (const mp::ExpertAxis axis : {mp::ExpertAxis::innermost, mp::ExpertAxis::outermost})
    for (Index expert = 1; expert <= world; ++expert)
      for (Index dense = 1; dense <= world; ++dense)
        for (Index shard = 1; shard <= world; ++shard) {
          const mp::Layout layout{
              .world = world, .expert = expert, .dense_shard = dense, .expert_shard = shard, .expert_axis = axis};
          if (8 % expert == 0 && layout.legal()) layouts.push_back(layout);
        }
  return layouts;
}

//! A folder that is gone at the end of a test.
struct Folder {
  std::string path;
  Folder() {
    std::string name = (std::filesystem::temp_directory_path() / "moepar-checkpoint-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) std::abort();
    path = name;
  }
  Folder(const Folder&) = delete;
  Folder& operator=(const Folder&) = delete;
  ~Folder() {
    std::error_code ignored;
    std::filesystem::remove_all(path, ignored);
  }
};

inline std::string read_file(const std::string& path) {
  std::ifstream in{path, std::ios::binary};
  return {std::istreambuf_iterator<char>{in}, {}};
}
inline void write_file(const std::string& path, std::string_view bytes) {
  std::ofstream{path, std::ios::binary}.write(bytes.data(), static_cast<std::streamsize>(bytes.size()));
}

//! Names in a folder, sorted.
inline std::vector<std::string> names_in(const std::string& folder) {
  std::vector<std::string> names;
  for (const auto& entry : std::filesystem::directory_iterator{folder})
    names.push_back(entry.path().filename().string());
  std::sort(names.begin(), names.end());
  return names;
}

//! Saves the values of `step`.
inline void save(const mp::Layout& layout, const std::string& run, Index step,
                 const mp::CheckpointOptions& options = {}, const mp::Facts& facts = {}) {
  on_ranks(layout, [&](auto& training) {
    training.set(step);
    mp::CheckpointWriter writer{training.state(), run, options};
    writer.save(facts);
    training.clear();  // the snapshot has its own values
    writer.finish();
  });
}

//! What the Error that `call` throws says; "" when it throws none.
template <class Call> std::string error_of(const Call& call) {
  try {
    call();
  } catch (const mp::Error& error) {
    return error.what();
  }
  return {};
}
inline bool has(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

}  // namespace training_case
