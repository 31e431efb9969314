// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <concepts>
#include <cstdint>
#include <moepar/comm/pieces.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <span>

// What a transport offers, one concept a capability. All calls block, have a
// deadline, and must be made by every member of the group in the same order
// with the same operation, element type and count; if they are not, every rank
// of the world throws CollectiveError and no data has moved. Spans may be
// empty. There is no sum over floating-point numbers but reduce_scatter, which
// adds parts by the tree over granules, so that the result does not depend on
// who holds what.
namespace moepar {

//! The members of one group along one axis, seen from one of them.
template <class C>
concept communicator = requires(C& c, const C& constant) {
  { constant.size() } -> std::same_as<Index>;
  { constant.rank() } -> std::same_as<Index>;  // position in the group
  c.barrier();
};

template <class C, class T = float>
concept has_broadcast = communicator<C> && requires(C& c, std::span<T> data) { c.broadcast(Index{0}, data); };

//! counts[i]: elements that member i contributes; all: the contributions, one
//! behind the other. With pieces: several arrays in one meeting.
template <class C, class T = float>
concept has_all_gather =
    communicator<C> && requires(C& c, std::span<const T> own, std::span<T> all, std::span<const Index> counts,
                                std::span<const GatherPiece<T>> pieces) {
      c.all_gather(own, all, counts);
      c.all_gather(pieces);
    };

//! Adds the parts of all members and gives member i the next counts[i] elements
//! of the sum, of several arrays in one meeting.
template <class C, class T = float>
concept has_reduce_scatter =
    communicator<C> && requires(C& c, const GranuleTree& tree, std::span<const GranuleRange> ranges,
                                std::span<const ReducePiece<T>> pieces, std::span<GranuleRange> sum_ranges) {
      { c.reduce_scatter(tree, ranges, pieces, sum_ranges) } -> std::same_as<Index>;
    };

template <class C>
concept has_integer_reduction = communicator<C> && requires(C& c, std::span<std::int64_t> values) {
  c.sum(values);
  c.maximum(values);
};

template <class C, class T = float>
concept has_all_to_all =
    communicator<C> && requires(C& c, std::span<const T> out, std::span<T> in) { c.all_to_all(out, in); };

//! out_counts[i]: elements for member i; in_counts[i]: elements expected of
//! member i. Both are compared before data moves.
template <class C, class T = float>
concept has_all_to_all_v =
    communicator<C> && requires(C& c, std::span<const T> out, std::span<const Index> out_counts, std::span<T> in,
                                std::span<const Index> in_counts) { c.all_to_all_v(out, out_counts, in, in_counts); };

template <class C, class T = float>
concept has_send_receive = communicator<C> && requires(C& c, std::span<const T> out, std::span<T> in) {
  c.send(Index{0}, out);
  c.receive(Index{0}, in);
};

}  // namespace moepar
