// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <moepar/comm/ledger.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_table.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/part_stack.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/routing/dispatcher.hpp>
#include <moepar/routing/exchange_plan.hpp>
#include <moepar/routing/route_plan.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/row_groups.hpp>
#include <moepar/topology/layout.hpp>
#include <span>
#include <string>

namespace moepar {

//! What the backward pass of routed experts needs of the forward pass.
template <class Experts, class Element> struct RoutedExpertsRecord {
  ExchangePlan exchange{};
  bool exchanged = false;                         //!< whether `exchange` is made; recomputation reuses it
  Index* begins = nullptr;                        //!< of RowGroups of a pass
  std::uint8_t* merges = nullptr;                 //!< of a pass that is one of several
  Matrix<Element> input{}, output{}, returned{};  //!< expert rows in and out; what came back, by sorted row
  RecordOf<Experts, Element> experts{};
};

namespace detail {

//! Sizes of the buffers of one layer, the same for every step. slots: sorted rows of this rank; expert_rows: that its
//! experts take at once.
struct ExchangeSizes {
  Index members, slots, expert_rows;
};

template <class Rank, class Element>
constexpr ExchangeSizes exchange_sizes(Rank& rank, const RoutePlan<Element>& plan) {
  const Index members = rank.layout().expert, all = members * plan.rows * std::min(plan.top_k, plan.experts / members);
  const Index asked = rank.shape().receive_rows;
  return {members, plan.rows * plan.top_k, asked == 0 ? all : std::min(asked, all)};
}

//! Adds the gradients of experts that several passes left.
template <class Rank, class Experts> struct MergeExpertParts {
  Rank* rank;
  const Experts* experts;
  void operator()(Index& left, Index right) const { rank->merge_expert_parts(*experts, left, right); }
};

}  // namespace detail

//! Carries rows to experts and back by a RoutePlan, around any module that takes rows grouped by expert. The experts
//! are spread over the expert group of the rank's layout; a group of one has nothing to send. Ranks and experts without
//! rows do what all others do.
template <class Dispatcher> class RoutedExperts {
 public:
  //! input, output: token rows x hidden. output[t] = sum over slots, ascending, of weight x expert(input[t]).
  template <class Rank, class Experts, class Element = typename Rank::Element>
  static constexpr void forward(Rank& rank, const Experts& experts, const RoutePlan<Element>& plan,
                                ConstMatrix<Element> input, Matrix<Element> output,
                                RoutedExpertsRecord<Experts, Element>& record) {
    const auto sizes = detail::exchange_sizes(rank, plan);
    if (!record.exchanged) make_exchange(rank, plan, sizes, record);
    auto& arena = rank.arena();
    record.input = arena.template take<Element>(sizes.expert_rows, input.columns);
    record.output = arena.template take<Element>(sizes.expert_rows, input.columns);
    record.returned = sizes.members == 1 && sizes.expert_rows == sizes.slots
                          ? record.output
                          : arena.template take<Element>(sizes.slots, input.columns);
    for (Index p = 0; p < record.exchange.pass_count; ++p) {
      const Pass pass = pass_of(rank, record, p);
      to_experts(rank, plan, sizes, record.exchange, pass, input, {}, record.input);
      const Index mark = arena.mark();
      rank.with_rows(pass.rows, 0, [&] { experts.forward(rank, record.input, record.output, record.experts); });
      if (record.exchange.pass_count > 1) arena.release(mark);  // backward computes it again
      to_tokens(rank, plan, sizes, record.exchange, pass, record.output, record.returned);
    }
    if constexpr (!Rank::counting)
      rank.device().combine_rows(rank.rows(), record.returned, plan.place, plan.weight, plan.top_k, output);
  }

  //! Sets input_gradient and weight_gradient (rows x top_k); the gradients of the experts go to the rank.
  template <class Rank, class Experts, class Element = typename Rank::Element>
  static constexpr void backward(Rank& rank, const Experts& experts, const RoutePlan<Element>& plan,
                                 ConstMatrix<Element> input, ConstMatrix<Element> output_gradient,
                                 Matrix<Element> input_gradient, Matrix<Element> weight_gradient,
                                 const RoutedExpertsRecord<Experts, Element>& record) {
    const auto sizes = detail::exchange_sizes(rank, plan);
    auto& arena = rank.arena();
    const Index mark = arena.mark();
    const auto rows_gradient = arena.template take<Element>(sizes.expert_rows, input.columns);
    const auto dots = arena.template take<Element>(1, sizes.slots);
    if constexpr (!Rank::counting) {
      const Index slots = rank.rows().rows() * plan.top_k;
      rank.device().row_dots(output_gradient, plan.order, record.returned, slots, dots.data);
      for (Index i = 0; i < slots; ++i) weight_gradient.data[i] = dots.data[plan.place[i]];
    }
    const bool again = record.exchange.pass_count > 1;
    PartStack<Index, detail::MergeExpertParts<Rank, Experts>> stack{rank.tree(), {&rank, &experts}};
    for (Index p = 0; p < record.exchange.pass_count; ++p) {
      const Pass pass = pass_of(rank, record, p);
      const Index inner = arena.mark();
      auto expert_record = record.experts;
      if (again) {
        to_experts(rank, plan, sizes, record.exchange, pass, input, {}, record.input);
        rank.with_rows(pass.rows, 0, [&] { experts.forward(rank, record.input, record.output, expert_record); });
      }
      to_experts(rank, plan, sizes, record.exchange, pass, output_gradient, plan.sorted_weight, record.output);
      const auto part = static_cast<Index>(stack.parts().size());
      rank.with_rows(pass.rows, part, [&] { experts.backward(rank, record.output, rows_gradient, expert_record); });
      if (again) stack.push(pass.granules, part);
      arena.release(inner);
      to_tokens(rank, plan, sizes, record.exchange, pass, rows_gradient, record.returned);
    }
    if constexpr (!Rank::counting)
      rank.device().sum_rows(rank.rows(), record.returned, plan.place, plan.top_k, input_gradient);
    arena.release(mark);
  }

 private:
  struct Pass {
    ExchangePass range{};
    RowGroups rows{};
    GranuleRange granules{};  //!< in the batch, of a pass that is one of several
  };

  template <class Rank, class Experts, class Element>
  static constexpr void make_exchange(Rank& rank, const RoutePlan<Element>& plan, const detail::ExchangeSizes& sizes,
                                      RoutedExpertsRecord<Experts, Element>& record) {
    const Index least = rank.shape().length * std::min(plan.top_k, plan.experts / sizes.members);
    if (rank.shape().receive_rows != 0 && sizes.expert_rows < std::min(least, sizes.members * plan.rows * plan.top_k))
      throw Error{
          "moepar: receive_rows is " + std::to_string(rank.shape().receive_rows) + ", but one sequence may send " +
          std::to_string(least) +
          " rows to the experts of a rank. Fix: set it to at least length x min(TopK, experts of a rank), or 0."};
    const Index all_granules = sizes.members * plan.granules;
    auto& memory = rank.routes();
    ExchangePlan& exchange = record.exchange;
    exchange = {.members = sizes.members,
                .member = rank.layout().expert_group(rank.rank()).rank,
                .granules = plan.granules,
                .experts = plan.experts,
                .most_rows = sizes.expert_rows,
                .counts = memory.template take<Index>(all_granules, plan.experts).data,
                .passes = memory.template take<ExchangePass>(1, all_granules).data};
    record.begins = memory.template take<Index>(1, exchange.local() * all_granules + 1).data;
    record.merges = memory.template take<std::uint8_t>(1, all_granules).data;
    record.exchanged = true;
    const Index own = plan.granules * plan.experts;
    if (sizes.members > 1)
      rank.ledger().add(Axis::expert, Operation::all_gather, own * static_cast<Index>(sizeof(Index)));
    if constexpr (!Rank::counting) {
      if (sizes.members == 1) std::copy_n(plan.counts, own, exchange.counts);
      if constexpr (Rank::communicates)
        if (sizes.members > 1)
          rank.axes().expert.all_gather(std::span<const Index>{plan.counts, size(own)},
                                        std::span<Index>{exchange.counts, size(sizes.members * own)});
      make_passes(exchange, rank.tree(), rank.granules(Kind::expert).parts);
    }
  }

  template <class Rank, class Experts, class Element>
  static constexpr Pass pass_of(Rank& rank, const RoutedExpertsRecord<Experts, Element>& record, Index index) {
    const ExchangePlan& exchange = record.exchange;
    const GranuleTable& table = rank.granules(Kind::expert);
    Pass pass{.range = {0, exchange.all_granules()},
              .rows = {.groups = exchange.local(),
                       .granules = exchange.all_granules(),
                       .parts = static_cast<Index>(table.parts.size()),
                       .begins = record.begins,
                       .merges = table.merges.data()}};
    if constexpr (!Rank::counting) {
      pass.range = exchange.passes[index];
      const Index granules = pass.range.end - pass.range.begin;
      if (exchange.pass_count > 1) {  // a node of the tree: its sums close
        const Index member = pass.range.begin / exchange.granules;
        const auto first =
            rank.split()
                .granules_of(rank.layout().expert_group(rank.rank()).member(member, rank.rank()), rank.micro_step())
                .first +
            pass.range.begin % exchange.granules;
        pass.granules = {first, first + granules};
        rank.tree().merge_table(pass.granules, std::span<std::uint8_t>{record.merges, size(granules)});
        pass.rows.granules = granules;
        pass.rows.parts = 1;
        pass.rows.merges = record.merges;
      }
      Index row = 0, at = 0;
      for (Index e = exchange.member * exchange.local(); e < (exchange.member + 1) * exchange.local(); ++e)
        for (Index g = pass.range.begin; g < pass.range.end; ++g) {
          record.begins[at++] = row;
          row += exchange.counts[g * exchange.experts + e];
        }
      record.begins[at] = row;
    }
    return pass;
  }

  //! The sorted rows of this rank that a pass carries; all of them when there is one pass.
  template <class Element>
  static Index rows_of_pass(const RoutePlan<Element>& plan, const ExchangePlan& exchange, const ExchangePass& range,
                            Index* sorted) {
    const ExchangePass own = exchange.part_of_member(range, exchange.member);
    const Index first = exchange.member * exchange.granules;
    Index count = 0;
    for (Index e = 0; e < plan.experts; ++e) {
      const Index end = plan.sorted_begin(e, own.end - first);
      for (Index row = plan.sorted_begin(e, own.begin - first); row < end; ++row) sorted[count++] = row;
    }
    return count;
  }

  //! expert_rows = [weights x] rows of `tokens` in the order of the experts of this rank.
  template <class Rank, class Element>
  static constexpr void to_experts(Rank& rank, const RoutePlan<Element>& plan, const detail::ExchangeSizes& sizes,
                                   const ExchangePlan& exchange, const Pass& pass, ConstMatrix<Element> tokens,
                                   const Element* weights, Matrix<Element> expert_rows) {
    auto& arena = rank.arena();
    const Index mark = arena.mark(), columns = tokens.columns;
    const bool alone = sizes.members == 1;
    const auto slots = alone ? expert_rows : arena.template take<Element>(sizes.slots, columns);
    const auto sorted = arena.template take<Index>(2, sizes.slots);
    const auto chosen = arena.template take<Element>(1, sizes.slots);
    const auto staged = take_staged<Rank, Element>(rank, sizes, columns);
    const auto counts = arena.template take<Index>(2, sizes.members);
    if (!alone) tally(rank, sizes, columns, sizeof(Element));
    if constexpr (!Rank::counting) {
      const Index count = rows_of_pass(plan, exchange, pass.range, sorted.row(0));
      for (Index i = 0; i < count; ++i) sorted.row(1)[i] = plan.order[sorted.row(0)[i]];
      if (weights != nullptr)
        for (Index i = 0; i < count; ++i) chosen.data[i] = weights[sorted.row(0)[i]];
      rank.device().gather_rows(tokens, sorted.row(1), weights == nullptr ? nullptr : chosen.data, count, slots);
      if constexpr (Rank::communicates)
        if (!alone)
          Dispatcher::template to_experts<Element>(rank.axes().expert, exchange, pass.range, slots, expert_rows, staged,
                                                   counts.data);
    }
    arena.release(mark);
  }

  //! The way back: returned[sorted row] = its expert row.
  template <class Rank, class Element>
  static constexpr void to_tokens(Rank& rank, const RoutePlan<Element>& plan, const detail::ExchangeSizes& sizes,
                                  const ExchangePlan& exchange, const Pass& pass, ConstMatrix<Element> expert_rows,
                                  Matrix<Element> returned) {
    auto& arena = rank.arena();
    const Index mark = arena.mark(), columns = returned.columns;
    const bool alone = sizes.members == 1;
    const bool bounded = rank.shape().receive_rows != 0;  // then there may be several passes
    const auto slots = bounded && !alone ? arena.template take<Element>(sizes.slots, columns) : returned;
    const auto sorted = arena.template take<Index>(1, bounded ? sizes.slots : 0);
    const auto staged = take_staged<Rank, Element>(rank, sizes, columns);
    const auto counts = arena.template take<Index>(2, sizes.members);
    if (!alone) tally(rank, sizes, columns, sizeof(Element));
    if constexpr (!Rank::counting) {
      const bool one_pass = exchange.pass_count == 1;
      if constexpr (Rank::communicates)
        if (!alone)
          Dispatcher::template to_tokens<Element>(rank.axes().expert, exchange, pass.range, expert_rows,
                                                  one_pass ? returned : slots, staged, counts.data);
      if (alone || !one_pass) {
        const Matrix<const Element> from = alone ? expert_rows : slots;
        if (one_pass && from.data != returned.data)
          detail::copy_rows<Element>(from, 0, returned, 0, pass.rows.rows());
        else if (!one_pass) {
          const Index count = rows_of_pass(plan, exchange, pass.range, sorted.data);
          for (Index i = 0; i < count; ++i) detail::copy_rows<Element>(from, i, returned, sorted.data[i], 1);
        }
      }
    }
    arena.release(mark);
  }

  template <class Rank, class Element>
  static constexpr Matrix<Element> take_staged(Rank& rank, const detail::ExchangeSizes& sizes, Index columns) {
    if (sizes.members == 1) return {};
    return rank.arena().template take<Element>(Dispatcher::staged_rows(sizes.members * sizes.slots, sizes.expert_rows),
                                               columns);
  }
  template <class Rank>
  static constexpr void tally(Rank& rank, const detail::ExchangeSizes& sizes, Index columns, std::size_t element) {
    rank.ledger().add(Axis::expert, Dispatcher::operation, sizes.slots * columns * static_cast<Index>(element));
  }
  static constexpr std::size_t size(Index count) { return static_cast<std::size_t>(count); }
};

}  // namespace moepar
