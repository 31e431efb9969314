// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <moepar/comm/ledger.hpp>
#include <moepar/core/index.hpp>
#include <moepar/routing/exchange_plan.hpp>
#include <moepar/tensor/matrix.hpp>
#include <span>

// Two ways to carry rows between tokens and experts; both leave the same bits. Slot rows: this rank's rows of one pass,
// by (expert, granule, position); expert rows: the rows that the experts of this rank take, by (expert, granule,
// position) over the whole expert group. Functions are called by all members of the group together. staged: scratch of
// staged_rows rows; counts: scratch of 2 x members numbers.
namespace moepar {

namespace detail {

//! Copies whole rows between two buffers, in runs.
template <class Element>
inline void copy_rows(ConstMatrix<Element> from, Index from_row, Matrix<Element> to, Index to_row, Index rows) {
  std::copy_n(from.row(from_row), rows * from.columns, to.row(to_row));
}

//! Calls visit(member, expert, rows) for the runs of one pass that go to `owner`, in the order in which its experts
//! take them.
template <class Visit>
void for_each_expert_run(const ExchangePlan& plan, const ExchangePass& pass, Index owner, Visit visit) {
  for (Index e = owner * plan.local(); e < (owner + 1) * plan.local(); ++e)
    for (Index member = 0; member < plan.members; ++member) {
      const ExchangePass part = plan.part_of_member(pass, member);
      visit(member, e, plan.rows(part.begin, part.end, e));
    }
}

}  // namespace detail

//! Sends each row to the rank of its expert and back (all_to_all_v): a rank carries the rows of its tokens and those of
//! its experts, nothing else.
struct AllToAll {
  static constexpr Operation operation = Operation::all_to_all_v;
  //! Rows of `staged`. group_slots: slot rows of the whole group; most_rows: expert rows that a rank takes at once.
  static constexpr Index staged_rows(Index /*group_slots*/, Index most_rows) { return most_rows; }

  template <class Element, class Communicator>
  static void to_experts(Communicator& group, const ExchangePlan& plan, const ExchangePass& pass,
                         ConstMatrix<Element> slots, Matrix<Element> experts, Matrix<Element> staged, Index* counts) {
    const Index columns = slots.columns, members = plan.members;
    const ExchangePass own = plan.part_of_member(pass, plan.member);
    Index sent = 0, received = 0;
    for (Index m = 0; m < members; ++m) {
      const ExchangePass part = plan.part_of_member(pass, m);
      sent += counts[m] = plan.rows_of_owner(own.begin, own.end, m) * columns;
      received += counts[members + m] = plan.rows_of_owner(part.begin, part.end, plan.member) * columns;
    }
    exchange<Element>(group, slots.data, sent, counts, staged.data, received, counts + members);
    Index to = 0;
    detail::for_each_expert_run(plan, pass, plan.member, [&](Index member, Index expert, Index rows) {
      detail::copy_rows<Element>(staged, staged_row(plan, pass, member, expert), experts, to, rows);
      to += rows;
    });
  }

  template <class Element, class Communicator>
  static void to_tokens(Communicator& group, const ExchangePlan& plan, const ExchangePass& pass,
                        ConstMatrix<Element> experts, Matrix<Element> slots, Matrix<Element> staged, Index* counts) {
    const Index columns = slots.columns, members = plan.members;
    const ExchangePass own = plan.part_of_member(pass, plan.member);
    Index from = 0;
    detail::for_each_expert_run(plan, pass, plan.member, [&](Index member, Index expert, Index rows) {
      detail::copy_rows<Element>(experts, from, staged, staged_row(plan, pass, member, expert), rows);
      from += rows;
    });
    Index sent = 0, received = 0;
    for (Index m = 0; m < members; ++m) {
      const ExchangePass part = plan.part_of_member(pass, m);
      sent += counts[m] = plan.rows_of_owner(part.begin, part.end, plan.member) * columns;
      received += counts[members + m] = plan.rows_of_owner(own.begin, own.end, m) * columns;
    }
    exchange<Element>(group, staged.data, sent, counts, slots.data, received, counts + members);
  }

 private:
  //! Where the rows of `member` for `expert` begin in what arrives: by member, then expert.
  static Index staged_row(const ExchangePlan& plan, const ExchangePass& pass, Index member, Index expert) {
    Index row = 0;
    for (Index m = 0; m < member; ++m) {
      const ExchangePass part = plan.part_of_member(pass, m);
      row += plan.rows_of_owner(part.begin, part.end, plan.member);
    }
    const ExchangePass part = plan.part_of_member(pass, member);
    for (Index e = plan.member * plan.local(); e < expert; ++e) row += plan.rows(part.begin, part.end, e);
    return row;
  }

  template <class Element, class Communicator>
  static void exchange(Communicator& group, const Element* out, Index out_size, const Index* out_counts, Element* in,
                       Index in_size, const Index* in_counts) {
    const auto size = [](Index count) { return static_cast<std::size_t>(count); };
    const std::size_t members = size(group.size());
    group.all_to_all_v(std::span<const Element>{out, size(out_size)}, std::span<const Index>{out_counts, members},
                       std::span<Element>{in, size(in_size)}, std::span<const Index>{in_counts, members});
  }
};

//! Copies every row to every rank of the expert group (all_gather), which then picks its own: more bytes than AllToAll,
//! one kind of collective, which every transport has and which needs no counts between pairs.
struct AllGather {
  static constexpr Operation operation = Operation::all_gather;
  static constexpr Index staged_rows(Index group_slots, Index /*most_rows*/) { return group_slots; }

  template <class Element, class Communicator>
  static void to_experts(Communicator& group, const ExchangePlan& plan, const ExchangePass& pass,
                         ConstMatrix<Element> slots, Matrix<Element> experts, Matrix<Element> staged, Index* counts) {
    for (Index m = 0; m < plan.members; ++m) counts[m] = slots_of(plan, pass, m) * slots.columns;
    gather<Element>(group, slots.data, counts, staged);
    Index to = 0;
    detail::for_each_expert_run(plan, pass, plan.member, [&](Index member, Index expert, Index rows) {
      Index from = 0;
      for (Index m = 0; m < member; ++m) from += slots_of(plan, pass, m);
      const ExchangePass part = plan.part_of_member(pass, member);
      for (Index e = 0; e < expert; ++e) from += plan.rows(part.begin, part.end, e);
      detail::copy_rows<Element>(staged, from, experts, to, rows);
      to += rows;
    });
  }

  template <class Element, class Communicator>
  static void to_tokens(Communicator& group, const ExchangePlan& plan, const ExchangePass& pass,
                        ConstMatrix<Element> experts, Matrix<Element> slots, Matrix<Element> staged, Index* counts) {
    for (Index m = 0; m < plan.members; ++m) counts[m] = plan.rows_of_owner(pass.begin, pass.end, m) * slots.columns;
    gather<Element>(group, experts.data, counts, staged);
    Index from = 0, to = 0;
    for (Index owner = 0; owner < plan.members; ++owner)
      detail::for_each_expert_run(plan, pass, owner, [&](Index member, Index, Index rows) {
        if (member == plan.member) {
          detail::copy_rows<Element>(staged, from, slots, to, rows);
          to += rows;
        }
        from += rows;
      });
  }

 private:
  static Index slots_of(const ExchangePlan& plan, const ExchangePass& pass, Index member) {
    const ExchangePass part = plan.part_of_member(pass, member);
    Index rows = 0;
    for (Index owner = 0; owner < plan.members; ++owner) rows += plan.rows_of_owner(part.begin, part.end, owner);
    return rows;
  }
  template <class Element, class Communicator>
  static void gather(Communicator& group, const Element* own, const Index* counts, Matrix<Element> all) {
    Index total = 0;
    for (Index m = 0; m < group.size(); ++m) total += counts[m];
    const auto size = [](Index count) { return static_cast<std::size_t>(count); };
    group.all_gather(std::span<const Element>{own, size(counts[group.rank()])},
                     std::span<Element>{all.data, size(total)}, std::span<const Index>{counts, size(group.size())});
  }
};

}  // namespace moepar
