// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <moepar/comm/call.hpp>
#include <moepar/comm/pieces.hpp>
#include <moepar/comm/pull/member_sum.hpp>
#include <moepar/comm/pull/pull_group.hpp>
#include <moepar/comm/scratch.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moepar {

//! A communicator whose ranks share memory: data is pulled from the memory of its owner. `Meeting` is how the members
//! come together: a detail::MeetingBoard with meet() and part(). Used by one rank. Models every concept of
//! comm/communicator.hpp. A call that has been made before with as much data allocates nothing.
template <class Meeting> class PullCommunicator : public PullGroup<Meeting> {
  using Frame = PullGroup<Meeting>;

 public:
  using Frame::rank, Frame::size;

  //! Meetings of every member with every other, for send and receive: pair_meetings[i] is the one with member i.
  PullCommunicator(const char* axis, Index position, Meeting& meeting, std::vector<Meeting*> pair_meetings)
      : Frame{axis, position, meeting}, pairs_(std::move(pair_meetings)), pair_sequences_(pairs_.size()) {}

  void barrier() {
    exchange(call(Operation::barrier, ElementType::none, 0), {}, [] {});
  }

  //! data of member `root` to all.
  template <wire_element T> void broadcast(Index root, std::span<T> data) {
    require_member(root, "broadcast");
    Call made = call(Operation::broadcast, element_type_of<T>, count_of(data));
    made.root = root;
    exchange(made, {.data = data.data()}, [&] { copy(shown<T>(root), data.data(), count_of(data)); });
  }

  //! all = the contributions of members 0, 1, ...; all members contribute the same number of elements.
  template <wire_element T> void all_gather(std::span<const T> own, std::span<T> all) {
    counts_.assign(static_cast<std::size_t>(size()), count_of(own));
    all_gather(own, all, std::span<const Index>{counts_});
  }

  template <wire_element T> void all_gather(std::span<const T> own, std::span<T> all, std::span<const Index> counts) {
    require_counts("all_gather", counts, count_of(all));
    require_size("all_gather", "own", count_of(own), counts[static_cast<std::size_t>(rank_)]);
    const GatherPiece<T> piece{own.data(), all.data(), counts.data()};
    all_gather(std::span<const GatherPiece<T>>{&piece, 1});
  }

  //! Several arrays in one meeting. All members pass equally many pieces, with equal counts.
  template <wire_element T> void all_gather(std::span<const GatherPiece<T>> pieces) {
    const auto [total, hash] = agree_on_counts("all_gather", pieces);
    exchange(call(Operation::all_gather, element_type_of<T>, total),
             {.data = pieces.data(), .pieces = count_of(pieces), .counts_hash = hash}, [&] {
               for (std::size_t i = 0; i < pieces.size(); ++i) {
                 const GatherPiece<T>& piece = pieces[i];
                 Index begin = begin_of(piece.counts, rank_) + piece.counts[rank_];
                 for_others([&](Index from) {
                   if (from == 0) begin = 0;
                   copy(shown<GatherPiece<T>>(from)[i].own, piece.all + begin, piece.counts[from]);
                   begin += piece.counts[from];
                 });
               }
             });
  }

  //! Adds the parts of all members by `tree`, pushed in granule order, and gives member i the elements [counts[0] + ...
  //! + counts[i-1], + counts[i]) of the sum of every piece. All members pass the same tree and equally many pieces,
  //! with equal counts. ranges: the granules of this member's parts, ascending, the same for all pieces. sum_ranges:
  //! set to the granules of what is left. Returns how many sums that are: 1 where the granules of the group are a node
  //! of the tree, else those of their cover. Throws Error when sum_ranges has too little room.
  template <wire_element T>
    requires std::floating_point<T>
  Index reduce_scatter(const GranuleTree& tree, std::span<const GranuleRange> ranges,
                       std::span<const ReducePiece<T>> pieces, std::span<GranuleRange> sum_ranges) {
    const auto [total, hash] = agree_on_counts("reduce_scatter", pieces);
    exchange(call(Operation::reduce_scatter, element_type_of<T>, total),
             {.data = pieces.data(),
              .pieces = count_of(pieces),
              .counts_hash = hash,
              .tree_hash = Frame::hash_of(tree),
              .ranges = ranges.data(),
              .parts = count_of(ranges)},
             [&] {
               sum_.plan(*meeting_, tree, sum_ranges);
               for (std::size_t i = 0; i < pieces.size(); ++i) sum_.run<T>(*meeting_, rank_, i, pieces[i], scratch_);
             });
    return sum_.size();
  }

  //! Element by element over all members; exact, so any order is the right one.
  void sum(std::span<std::int64_t> values) {
    reduce(Operation::sum, values, [](std::int64_t a, std::int64_t b) { return a + b; });
  }
  template <wire_element T> void maximum(std::span<T> values) {
    reduce(Operation::maximum, values, [](T a, T b) { return a > b ? a : b; });
  }

  //! Block i of `out` to member i; block i of `in` from member i. Blocks have out.size() / size() elements.
  template <wire_element T> void all_to_all(std::span<const T> out, std::span<T> in) {
    require_size("all_to_all", "in", count_of(in), count_of(out));
    if (count_of(out) % size() != 0) require_size("all_to_all", "out", count_of(out), count_of(out) / size() * size());
    const Index block = count_of(out) / size();
    exchange(call(Operation::all_to_all, element_type_of<T>, block), {.data = out.data()}, [&] {
      for_others([&](Index from) { copy(shown<T>(from) + rank_ * block, in.data() + from * block, block); });
    });
  }

  template <wire_element T>
  void all_to_all_v(std::span<const T> out, std::span<const Index> out_counts, std::span<T> in,
                    std::span<const Index> in_counts) {
    require_counts("all_to_all_v", out_counts, count_of(out));
    require_counts("all_to_all_v", in_counts, count_of(in));
    // Shown: what this member sends, then what it expects, so that every member can compare every pair.
    counts_.assign(out_counts.begin(), out_counts.end());
    counts_.insert(counts_.end(), in_counts.begin(), in_counts.end());
    exchange(call(Operation::all_to_all_v, element_type_of<T>, 0), {.data = out.data(), .counts = counts_.data()}, [&] {
      for (Index from = 0; from < size(); ++from)
        for (Index to = 0; to < size(); ++to) {
          const Index sends = meeting_->slot(from).counts[to], expects = meeting_->slot(to).counts[size() + from];
          if (sends != expects)
            meeting_->disagree(rank_, from, to,
                               " (the first sends the second " + std::to_string(sends) + " elements, it expects " +
                                   std::to_string(expects) + ")");
        }
      Index begin = begin_of(in_counts.data(), rank_) + in_counts[static_cast<std::size_t>(rank_)];
      for_others([&](Index from) {
        if (from == 0) begin = 0;
        const Index count = in_counts[static_cast<std::size_t>(from)];
        copy(shown<T>(from) + begin_of(meeting_->slot(from).counts, rank_), in.data() + begin, count);
        begin += count;
      });
    });
  }

  //! One member to another, which must receive as many elements. Returns when they have arrived.
  template <wire_element T> void send(Index to, std::span<const T> data) {
    transfer(rank_, to, element_type_of<T>, count_of(data), data.data(), [](const void*) {});
  }
  template <wire_element T> void receive(Index from, std::span<T> data) {
    transfer(from, rank_, element_type_of<T>, count_of(data), nullptr,
             [&](const void* source) { copy(static_cast<const T*>(source), data.data(), count_of(data)); });
  }

 private:
  using Frame::axis_, Frame::rank_, Frame::meeting_;
  using Frame::begin_of, Frame::require_member, Frame::require_size, Frame::require_counts, Frame::agree_on_counts;
  using Frame::call, Frame::exchange, Frame::in_meeting, Frame::for_others, Frame::copy, Frame::count_of;
  template <class T> [[nodiscard]] const T* shown(Index member) const { return Frame::template shown<T>(member); }

  template <class T, class Combine> void reduce(Operation operation, std::span<T> values, Combine combine) {
    T* const own = scratch_.room_for<T>(count_of(values));  // the others read it while `values` is written
    std::copy_n(values.data(), values.size(), own);
    exchange(call(operation, element_type_of<T>, count_of(values)), {.data = own}, [&] {
      for_others([&](Index from) {
        const T* theirs = shown<T>(from);
        if (from == rank_) return;
        for (std::size_t i = 0; i < values.size(); ++i) values[i] = combine(values[i], theirs[i]);
      });
    });
  }

  template <class Copy>
  void transfer(Index from, Index to, ElementType element, Index count, const void* data, Copy take) {
    const Index peer = from == rank_ ? to : from;
    require_member(peer, "send and receive");
    if (peer == rank_) throw Error{"moepar: send and receive need two members. Fix: copy instead."};
    Index& sequence = pair_sequences_[static_cast<std::size_t>(peer)];
    const Call made{.operation = Operation::send_receive,
                    .axis = axis_,
                    .element = element,
                    .count = count,
                    .root = from,
                    .sequence = ++sequence};
    Meeting& pair = *pairs_[static_cast<std::size_t>(peer)];
    const Index position = rank_ < peer ? 0 : 1;
    in_meeting(pair, position, {.call = made, .data = data}, [&] { take(pair.slot(1 - position).data); });
  }

  std::vector<Meeting*> pairs_;
  std::vector<Index> pair_sequences_;
  // Of the call that is being made, kept for the next.
  std::vector<Index> counts_;
  detail::MemberSum sum_;
  Scratch scratch_;
};

}  // namespace moepar
