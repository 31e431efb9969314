// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <moepar/comm/ledger.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/part_stack.hpp>
#include <moepar/kernels/cpu/square_sum.hpp>
#include <moepar/parallel/axes.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/shard.hpp>
#include <span>
#include <vector>

// The norm of the gradient over all parameters, the same bits for every sharding: squares are summed by blocks of 1024
// elements, the blocks of a parameter (an expert's own) by a tree with one factor, the parameters in registration
// order. Every rank sums what it keeps and sends the sums of the nodes that this covers; replicas send nothing.
namespace moepar {

static_assert(cpu::norm_block == shard_block, "a shard must hold whole blocks of the norm");

//! The tree over the blocks of one tensor.
constexpr GranuleTree norm_tree(Index elements) {
  const Index factors[] = {block_count(elements)};
  return {factors[0], std::span<const Index>{factors}};
}

//! Calls visit(copy, nodes' range of blocks) for the nodes that the blocks [blocks.begin, blocks.end) of a stack of
//! `copies` tensors of `elements` cover.
template <class Visit>
constexpr void for_each_norm_node(Index copies, Index elements, const Range& blocks, Visit visit) {
  const Index per_copy = block_count(elements);
  const GranuleTree tree = norm_tree(elements);
  for (Index copy = 0; copy < copies; ++copy) {
    const Index from = std::max(blocks.begin - copy * per_copy, Index{0});
    const Index to = std::min(blocks.end - copy * per_copy, per_copy);
    if (from < to) for_each_cover_node(tree, {from, to}, [&](GranuleRange node) { visit(copy, node); });
  }
}

//! The sums of squares of one placement; kept between steps so that no step allocates.
class GradientNorm {
 public:
  //! The norm of the gradients that the ranks keep after finish_gradients; the same on every rank. model: the bound
  //! one.
  template <class Rank, class Model> constexpr double operator()(Rank& rank, const Model& model) {
    if constexpr (!Rank::counting) squares_.assign(static_cast<std::size_t>(squares_of(model)), 0.0);
    for (Index i = 0; i < placements; ++i) {
      const auto placement = static_cast<Placement>(i);
      if (rank.held(placement).size.whole > 0) add_placement(rank, model, placement);
    }
    if constexpr (Rank::counting) return 0;
    double sum = 0;
    for (const double square : squares_) sum += square;
    return std::sqrt(sum);
  }

  //! After a call: the sums of squares of all parameters in registration order, experts one by one.
  [[nodiscard]] std::span<const double> squares() const { return squares_; }

 private:
  template <class Model, class Visit>
  static constexpr void for_placement(const Model& model, Placement placement, Visit visit) {
    Index at = 0;  // among all copies of all parameters
    for_each_parameter(model, [&](const auto& site, const Parameter& parameter) {
      if (parameter.placement == placement) visit(parameter, at);
      at += site.copies;
    });
  }
  template <class Model> static Index squares_of(const Model& model) {
    Index count = 0;
    for_each_parameter(model, [&](const auto& site, const Parameter&) { count += site.copies; });
    return count;
  }

  template <class Rank, class Model> constexpr void add_placement(Rank& rank, const Model& model, Placement placement) {
    const auto& held = rank.held(placement);
    const Group shards = held.shards;
    Index own_nodes = 0, copies = 0;
    for_placement(model, placement, [&](const Parameter& parameter, Index) {
      const Range blocks = shard_blocks(parameter.copies, parameter.size(), shards.size, shards.rank);
      for_each_norm_node(parameter.copies, parameter.size(), blocks, [&](Index, GranuleRange) { ++own_nodes; });
      copies += parameter.copies;
    });
    constexpr Index bytes = sizeof(double);
    const bool spread = is_expert(placement) && rank.layout().expert > 1;
    if (shards.size > 1) rank.ledger().add(shard_axis(placement), Operation::all_gather, own_nodes * bytes);
    if (spread) rank.ledger().add(Axis::expert, Operation::all_gather, copies * bytes);
    if constexpr (!Rank::counting) {
      own_.clear();
      for_placement(model, placement, [&](const Parameter& parameter, Index) { sum_own(rank, parameter, shards); });
      gather_nodes(rank, model, placement, shards);
      local_.clear();
      add_nodes(model, placement, shards);
      gather_copies(rank, model, placement, spread);
    }
  }

  // The sums of the nodes that this rank's blocks of one parameter cover.
  template <class Rank> void sum_own(Rank& rank, const Parameter& parameter, const Group& shards) {
    const Range blocks = shard_blocks(parameter.copies, parameter.size(), shards.size, shards.rank);
    const auto kept = rank.kept_gradient(parameter);
    const Index per_copy = block_count(parameter.size()), first = elements_before(parameter.size(), blocks.begin);
    const GranuleTree tree = norm_tree(parameter.size());
    blocks_.resize(static_cast<std::size_t>(blocks.size()));
    // Blocks of different copies: the last one of a copy may be short.
    for (Index copy = 0; copy < parameter.copies; ++copy) {
      const Index from = std::max(blocks.begin, copy * per_copy), to = std::min(blocks.end, (copy + 1) * per_copy);
      if (from >= to) continue;
      const Index begin = elements_before(parameter.size(), from) - first;
      const Index end = elements_before(parameter.size(), to) - first;
      cpu::block_square_sums(
          rank.device().workers(),
          std::span<const float>{kept}.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin)),
          std::span{blocks_}.subspan(static_cast<std::size_t>(from - blocks.begin),
                                     static_cast<std::size_t>(to - from)));
      PartStack<double> stack{tree};
      for (Index block = from; block < to; ++block)
        stack.push({block - copy * per_copy, block - copy * per_copy + 1},
                   blocks_[static_cast<std::size_t>(block - blocks.begin)]);
      for (const auto& part : stack.parts()) own_.push_back(part.value);
    }
  }

  template <class Rank, class Model>
  void gather_nodes(Rank& rank, const Model& model, Placement placement, const Group& shards) {
    counts_.assign(static_cast<std::size_t>(shards.size), 0);
    Index total = 0;
    for (Index member = 0; member < shards.size; ++member)
      for_placement(model, placement, [&](const Parameter& parameter, Index) {
        const Range blocks = shard_blocks(parameter.copies, parameter.size(), shards.size, member);
        for_each_norm_node(parameter.copies, parameter.size(), blocks, [&](Index, GranuleRange) {
          ++counts_[static_cast<std::size_t>(member)];
          ++total;
        });
      });
    all_.resize(static_cast<std::size_t>(total));
    if constexpr (Rank::communicates) {
      if (shards.size > 1) {
        rank.axes().shard_of(placement).all_gather(std::span<const double>{own_}, std::span<double>{all_},
                                                   std::span<const Index>{counts_});
        return;
      }
    }
    std::copy(own_.begin(), own_.end(), all_.begin());
  }

  // local_: the sums of this rank's copies of all parameters of the placement.
  template <class Model> void add_nodes(const Model& model, Placement placement, const Group& shards) {
    begins_.assign(1, 0);
    for (const Index count : counts_) begins_.push_back(begins_.back() + count);
    for_placement(model, placement, [&](const Parameter& parameter, Index) {
      const GranuleTree tree = norm_tree(parameter.size());
      for (Index copy = 0; copy < parameter.copies; ++copy) {
        PartStack<double> stack{tree};
        for (Index member = 0; member < shards.size; ++member) {
          const Range blocks = shard_blocks(parameter.copies, parameter.size(), shards.size, member);
          for_each_norm_node(parameter.copies, parameter.size(), blocks, [&](Index of, GranuleRange node) {
            if (of == copy)
              stack.push(node, all_[static_cast<std::size_t>(begins_[static_cast<std::size_t>(member)]++)]);
          });
        }
        local_.push_back(stack.finish());
      }
    });
  }

  template <class Rank, class Model>
  void gather_copies(Rank& rank, const Model& model, Placement placement, bool spread) {
    const Index members = spread ? rank.layout().expert : 1;
    const auto count = static_cast<Index>(local_.size());
    all_.resize(static_cast<std::size_t>(members * count));
    std::copy(local_.begin(), local_.end(), all_.begin());
    if constexpr (Rank::communicates)
      if (spread) rank.axes().expert.all_gather(std::span<const double>{local_}, std::span<double>{all_});
    Index from = 0;
    for_placement(model, placement, [&](const Parameter& parameter, Index at) {
      for (Index member = 0; member < members; ++member)
        for (Index copy = 0; copy < parameter.copies; ++copy)
          squares_[static_cast<std::size_t>(at + member * parameter.copies + copy)] =
              all_[static_cast<std::size_t>(member * count + from + copy)];
      from += parameter.copies;
    });
  }

  std::vector<double> own_{}, all_{}, local_{}, blocks_{}, squares_{};
  std::vector<Index> counts_{}, begins_{};
};

}  // namespace moepar
