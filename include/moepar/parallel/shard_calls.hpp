// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <moepar/comm/pieces.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/nn/path.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/topology/shard.hpp>
#include <span>
#include <vector>

namespace moepar {

//! The collectives over the shards of one module, all its parameters of a placement in one call. Keeps the lists that
//! they need, so that steps do not allocate.
template <class Element> class ShardCalls {
 public:
  //! memory: whole parameters, the first of them being `first_whole` among the whole parameters of the placement;
  //! values: what this rank keeps of the placement.
  template <class Communicator, class Module>
  void gather(Communicator& shards, const Module& module_, Placement placement, const Element* values, Element* memory,
              Index first_whole) {
    gather_.clear();
    for_each_piece(module_, placement, shards.size(), [&](const Parameter& parameter, const Index* counts) {
      gather_.push_back(
          {.own = values + parameter.held, .all = memory + (parameter.whole - first_whole), .counts = counts});
    });
    shards.all_gather(std::span<const GatherPiece<Element>>{gather_});
  }

  //! gradients: parts of whole parameters (the range `whole` of the placement), whole.size() elements apart; sums: what
  //! this rank keeps of their sums, sum_stride elements apart. sum_count: sums that this leaves.
  template <class Communicator, class Module>
  void reduce(Communicator& shards, const GranuleTree& tree, const Module& module_, Placement placement,
              const std::vector<GranuleRange>& parts, const Element* gradients, const Range& whole, Element* sums,
              Index sum_stride, std::size_t sum_count) {
    reduce_.clear();
    for_each_piece(module_, placement, shards.size(), [&](const Parameter& parameter, const Index* counts) {
      reduce_.push_back({.own = gradients + (parameter.whole - whole.begin),
                         .stride = whole.size(),
                         .counts = counts,
                         .sums = sums + parameter.held,
                         .sum_stride = sum_stride});
    });
    ranges_.resize(sum_count);
    shards.reduce_scatter(tree, std::span<const GranuleRange>{parts}, std::span<const ReducePiece<Element>>{reduce_},
                          std::span<GranuleRange>{ranges_});
  }

  //! Adds the parts of all replicas, `count` elements each and behind one another, and gives everybody the sum in place
  //! of the first part. own: room for this replica's share.
  template <class Communicator>
  void add_replicas(Communicator& replicas, const GranuleTree& tree, const std::vector<GranuleRange>& parts,
                    Element* gradients, Index count, Element* own) {
    counts_.clear();
    for (Index position = 0; position < replicas.size(); ++position)
      counts_.push_back(part_of(count, replicas.size(), position).size());
    const ReducePiece<Element> reduced{.own = gradients,
                                       .stride = count,
                                       .counts = counts_.data(),
                                       .sums = own,
                                       .sum_stride = counts_[static_cast<std::size_t>(replicas.rank())]};
    ranges_.resize(1);
    replicas.reduce_scatter(tree, std::span<const GranuleRange>{parts},
                            std::span<const ReducePiece<Element>>{&reduced, 1}, std::span<GranuleRange>{ranges_});
    const GatherPiece<Element> copied{.own = own, .all = gradients, .counts = counts_.data()};
    replicas.all_gather(std::span<const GatherPiece<Element>>{&copied, 1});
  }

 private:
  //! Calls visit(parameter, counts) for the parameters of one placement; counts: elements that each rank keeps.
  template <class Module, class Visit>
  void for_each_piece(const Module& module_, Placement placement, Index ranks, Visit visit) {
    Index parameters = 0;
    for_each_use(module_, [&](const Site&, const Parameter& parameter) {
      parameters += parameter.placement == placement ? 1 : 0;
    });
    counts_.clear();
    counts_.reserve(static_cast<std::size_t>(parameters * ranks));  // so that pointers into it stay
    for_each_use(module_, [&](const Site&, const Parameter& parameter) {
      if (parameter.placement != placement) return;
      const Index* counts = counts_.data() + counts_.size();
      for (Index position = 0; position < ranks; ++position)
        counts_.push_back(shard_elements(parameter.copies, parameter.size(), ranks, position));
      visit(parameter, counts);
    });
  }

  std::vector<Index> counts_{};
  std::vector<GatherPiece<Element>> gather_{};
  std::vector<ReducePiece<Element>> reduce_{};
  std::vector<GranuleRange> ranges_{};
};

}  // namespace moepar
