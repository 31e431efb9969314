// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <moepar/comm/call.hpp>
#include <moepar/comm/part_sum.hpp>
#include <moepar/comm/threads/meeting.hpp>
#include <moepar/comm/threads/world_state.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/part_stack.hpp>
#include <numeric>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace moepar {

//! A communicator whose ranks are threads of one process: data is pulled from the memory of its owner. Used by one
//! thread. Models every concept of comm/communicator.hpp.
class ThreadCommunicator {
 public:
  //! Meetings of every member with every other, for send and receive: pair_meetings[i] is the one with member i.
  ThreadCommunicator(detail::ThreadWorldState& world, const char* axis, Index rank, detail::Meeting& meeting,
                     std::vector<detail::Meeting*> pair_meetings)
      : world_{&world},
        axis_{axis},
        rank_{rank},
        meeting_{&meeting},
        pairs_(std::move(pair_meetings)),
        pair_sequences_(pairs_.size()) {}

  [[nodiscard]] Index size() const { return meeting_->size(); }
  [[nodiscard]] Index rank() const { return rank_; }
  [[nodiscard]] const char* axis() const { return axis_; }

  void barrier() {
    exchange(call(Operation::barrier, ElementType::none, 0), {}, [] {});
  }

  //! data of member `root` to all.
  template <wire_element T> void broadcast(Index root, std::span<T> data) {
    require_member(root, "broadcast");
    Call made = call(Operation::broadcast, element_type_of<T>, count_of(data));
    made.root = root;
    exchange(made, {.data = data.data()}, [&] {
      if (root != rank_) copy<T>(root, 0, data);
    });
  }

  //! all = the contributions of members 0, 1, ...; all members contribute the same number of elements.
  template <wire_element T> void all_gather(std::span<const T> own, std::span<T> all) {
    const std::vector<Index> counts(static_cast<std::size_t>(size()), count_of(own));
    all_gather(own, all, std::span<const Index>{counts});
  }

  template <wire_element T> void all_gather(std::span<const T> own, std::span<T> all, std::span<const Index> counts) {
    require_counts("all_gather", counts, count_of(all));
    require_size("all_gather", "own", count_of(own), counts[static_cast<std::size_t>(rank_)]);
    exchange(call(Operation::all_gather, element_type_of<T>, count_of(all)),
             {.data = own.data(), .counts = counts.data()}, [&] {
               require_same_counts(counts);
               Index begin = 0;
               for (Index from = 0; from < size(); ++from) {
                 const Index count = counts[static_cast<std::size_t>(from)];
                 copy<T>(from, 0, slice(all, begin, count));
                 begin += count;
               }
             });
  }

  //! Adds the parts of all members by `tree`, pushed in granule order, and gives member i elements
  //! [counts[0] + ... + counts[i-1], + counts[i]) of the sum. own: this member's parts, ascending, each of sum(counts)
  //! elements and not written by anybody during the call. sums: where to write, each with room for counts[rank]
  //! elements; their granules are set. Returns the number of sums: 1 where the granules of the group are a node of the
  //! tree, else those of their cover. Throws Error when `sums` has too few.
  template <wire_element T>
    requires std::floating_point<T>
  Index reduce_scatter(const GranuleTree& tree, std::span<const Part<const T*>> own, std::span<const Index> counts,
                       std::span<Part<T*>> sums) {
    const Index total = std::accumulate(counts.begin(), counts.end(), Index{0});
    require_counts("reduce_scatter", counts, total);
    Index written = 0;
    exchange(call(Operation::reduce_scatter, element_type_of<T>, total),
             {.data = own.data(), .counts = counts.data(), .parts = static_cast<Index>(own.size())}, [&] {
               require_same_counts(counts);
               std::vector<Part<const T*>> all;
               for (Index from = 0; from < size(); ++from) {
                 const auto* parts = static_cast<const Part<const T*>*>(meeting_->slot(from).data);
                 all.insert(all.end(), parts, parts + meeting_->slot(from).parts);
               }
               const Index begin = std::accumulate(counts.begin(), counts.begin() + rank_, Index{0});
               written = sum_parts<T>(tree, all, begin, counts[static_cast<std::size_t>(rank_)], sums);
             });
    return written;
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
    exchange(call(Operation::all_to_all, element_type_of<T>, block), {.data = out.data()},
             [&] { for_others([&](Index from) { copy<T>(from, rank_ * block, slice(in, from * block, block)); }); });
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
      std::vector<Index>& begins = begins_;
      begins.assign(1, 0);
      for (const Index count : in_counts) begins.push_back(begins.back() + count);
      for_others([&](Index from) {
        const Index* sends = meeting_->slot(from).counts;
        const Index begin = std::accumulate(sends, sends + rank_, Index{0});
        copy<T>(from, begin,
                slice(in, begins[static_cast<std::size_t>(from)], in_counts[static_cast<std::size_t>(from)]));
      });
    });
  }

  //! One member to another, which must receive as many elements. Returns when they have arrived.
  template <wire_element T> void send(Index to, std::span<const T> data) {
    transfer(rank_, to, element_type_of<T>, count_of(data), data.data(), [](const void*) {});
  }
  template <wire_element T> void receive(Index from, std::span<T> data) {
    transfer(from, rank_, element_type_of<T>, count_of(data), nullptr,
             [&](const void* source) { std::copy_n(static_cast<const T*>(source), data.size(), data.data()); });
  }

 private:
  template <class T> static Index count_of(std::span<T> span) { return static_cast<Index>(span.size()); }
  template <class T> static std::span<T> slice(std::span<T> span, Index begin, Index count) {
    return span.subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(count));
  }

  Call call(Operation operation, ElementType element, Index count) {
    return {.operation = operation, .axis = axis_, .element = element, .count = count, .sequence = ++sequence_};
  }

  //! The frame of every collective: show, compare, pull, part.
  template <class Pull> void exchange(const Call& made, detail::MeetingSlot slot, Pull pull) {
    slot.call = made;
    in_meeting(*meeting_, rank_, slot, pull);
  }

  template <class Pull>
  void in_meeting(detail::Meeting& meeting, Index position, const detail::MeetingSlot& slot, Pull pull) {
    const Index world_rank = meeting.world_rank(position);
    if (world_->failed()) world_->throw_failure(world_rank, slot.call);
    world_->began(world_rank, slot.call);
    meeting.meet(position, slot);
    std::exception_ptr error;
    try {
      meeting.require_agreement(position);
      pull();
    } catch (...) {
      error = std::current_exception();
    }
    meeting.part();  // whatever happened: the others wait for it
    if (error) std::rethrow_exception(error);
    world_->completed(world_rank);
  }

  template <class T, class Combine> void reduce(Operation operation, std::span<T> values, Combine combine) {
    const std::vector<T> own(values.begin(), values.end());  // the others read it while `values` is written
    exchange(call(operation, element_type_of<T>, count_of(values)), {.data = own.data()}, [&] {
      for_others([&](Index from) {
        const T* theirs = static_cast<const T*>(meeting_->slot(from).data);
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
    detail::Meeting& pair = *pairs_[static_cast<std::size_t>(peer)];
    const Index position = rank_ < peer ? 0 : 1;
    in_meeting(pair, position, {.call = made, .data = data}, [&] { take(pair.slot(1 - position).data); });
  }

  template <class T> void copy(Index from, Index begin, std::span<T> to) const {
    const T* source = static_cast<const T*>(meeting_->slot(from).data) + begin;
    if (source != to.data()) std::copy_n(source, to.size(), to.data());  // in place: nothing to do, and others read it
  }

  //! All members from the next one on, so that not everybody reads the same memory at once.
  template <class Visit> void for_others(Visit visit) const {
    for (Index step = 1; step <= size(); ++step) visit((rank_ + step) % size());
  }

  void require_member(Index member, const char* operation) const {
    if (member >= 0 && member < size()) return;
    throw Error{"moepar: " + std::string{operation} + '<' + axis_ + ">: there is no member " + std::to_string(member) +
                " in a group of " + std::to_string(size()) + ". Fix: pass a position in the group, not a world rank."};
  }
  void require_size(const char* operation, const char* what, Index got, Index expected) const {
    if (got == expected) return;
    throw Error{"moepar: " + std::string{operation} + '<' + axis_ + ">: `" + what + "` has " + std::to_string(got) +
                " elements, expected " + std::to_string(expected) + ". Fix: pass spans that fit the counts."};
  }
  void require_counts(const char* operation, std::span<const Index> counts, Index total) const {
    require_size(operation, "counts", count_of(counts), size());
    if (std::find_if(counts.begin(), counts.end(), [](Index count) { return count < 0; }) != counts.end())
      throw Error{"moepar: " + std::string{operation} + '<' + axis_ +
                  ">: a count is negative. Fix: counts are 0 or more."};
    require_size(operation, "data", total, std::accumulate(counts.begin(), counts.end(), Index{0}));
  }
  //! The counts of a collective are one list that all members know.
  void require_same_counts(std::span<const Index> counts) const {
    for (Index member = 1; member < size(); ++member) {
      const Index* first = meeting_->slot(0).counts;
      if (!std::equal(first, first + counts.size(), meeting_->slot(member).counts))
        meeting_->disagree(rank_, 0, member, " (their lists of counts differ)");
    }
  }

  detail::ThreadWorldState* world_;
  const char* axis_;
  Index rank_;
  detail::Meeting* meeting_;
  std::vector<detail::Meeting*> pairs_;
  std::vector<Index> pair_sequences_;
  Index sequence_ = 0;
  std::vector<Index> counts_, begins_;
};

}  // namespace moepar
