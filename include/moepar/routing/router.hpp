// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <moepar/comm/ledger.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/routing/policy.hpp>
#include <moepar/routing/route_plan.hpp>
#include <moepar/routing/select.hpp>
#include <moepar/routing/sinkhorn.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/router_totals.hpp>
#include <moepar/tensor/row_groups.hpp>
#include <moepar/topology/layout.hpp>
#include <span>
#include <string>

namespace moepar {

template <class P>
concept router_policy = std::derived_from<P, RouterPolicy>;

template <class Policy> consteval bool require_router_policy() {
  static_assert(router_policy<Policy>,
                "moepar::Router: Policy must be a routing policy. "
                "Fix: pass TopKSoftmax, AuxiliaryLoss, Sinkhorn or a class derived from RouterPolicy.");
  return router_policy<Policy>;
}

//! Chooses TopK experts a token by Policy. Holds no parameters: the gate that makes the logits belongs to Moe. Equal
//! scores go to the lower expert.
template <class Policy, Index TopK> struct Router {
  static constexpr bool rules_hold = require_router_policy<Policy>();
  static_assert(detail::checked<rules_hold>);

  using policy = Policy;
  static constexpr Index top_k = TopK;

  //! Makes the plan of one layer from logits, rows x experts. The plan lives in rank.routes(). Throws Error that names
  //! layer, sequence and position when a logit is not a number.
  template <class Rank, class Element = typename Rank::Element>
  static constexpr void route(Rank& rank, ConstMatrix<Element> logits, RoutePlan<Element>& plan) {
    auto& totals = rank.totals();
    auto& memory = rank.routes();
    const Index rows = logits.rows, slots = rows * TopK, granules = totals.granules;
    plan = {.made = true,
            .rows = rows,
            .top_k = TopK,
            .experts = logits.columns,
            .granules = granules,
            .layer = totals.next_layer++,
            .expert = memory.template take<std::int32_t>(rows, TopK).data,
            .weight = memory.template take<Element>(rows, TopK).data,
            .order = memory.template take<Index>(1, slots).data,
            .sorted_weight = memory.template take<Element>(1, slots).data,
            .place = memory.template take<Index>(rows, TopK).data,
            .expert_begin = memory.template take<Index>(1, logits.columns + 1).data};
    if (Policy::balances) {
      totals.balances = true;
      totals.scope = Policy::balance_scope;
      totals.by_layer = Policy::balances_by_layer;
    }
    if (looks_at_batch && rank.shape().micro_steps != 1) throw_micro_steps(rank.shape().micro_steps);
    const Index mark = rank.arena().mark();
    if constexpr (std::derived_from<Policy, SinkhornOver<Scope::sequence>>) {
      const auto scores = rank.arena().template take<double>(rows, logits.columns);
      const auto scratch = rank.arena().template take<double>(2 * granules, logits.columns);
      if constexpr (!Rank::counting)
        select<Element, double>(rank, logits, scores, plan, [&](Index granule) {
          const Index* begins = rank.rows().begins;
          totals.sinkhorn_error[granule] =
              std::max(totals.sinkhorn_error[granule],
                       sinkhorn_scores<Element>(logits, begins[granule], begins[granule + 1], scores,
                                                scratch.row(2 * granule), scratch.row(2 * granule + 1)));
        });
    } else if constexpr (std::derived_from<Policy, SinkhornOver<Scope::round>>) {
      route_over_batch(rank, logits, plan);
    } else if constexpr (!Rank::counting) {
      select<Element, Element>(rank, logits, logits, plan, [](Index) {});
    }
    rank.arena().release(mark);
  }

  //! Sets the gradient of the logits, rows x experts, from that of the plan's weights, rows x TopK.
  template <class Rank, class Element = typename Rank::Element>
  static constexpr void backward(Rank& rank, ConstMatrix<Element> logits, const RoutePlan<Element>& plan,
                                 ConstMatrix<Element> weight_gradient, Matrix<Element> logits_gradient) {
    if constexpr (!Rank::counting) {
      const auto& totals = rank.totals();
      const auto& rows = rank.rows();
      rank.device().workers().parallel(rows.granules, [&](Index granule, Index) {
        const Element* balance = Policy::balances ? totals.balance_of(plan.layer, granule) : nullptr;
        cpu::dispatch<detail::RouterGradientBody>(Policy{}, logits, rows.begins[granule], rows.begins[granule + 1],
                                                  plan, weight_gradient.data, balance, totals.z_scale, logits_gradient);
      });
    }
  }

 private:
  //! Such a policy needs all rows of the batch before the first backward pass.
  static constexpr bool looks_at_batch = std::derived_from<Policy, SinkhornOver<Scope::round>> ||
                                         (Policy::balances && Policy::balance_scope == Scope::round);

  [[noreturn]] static void throw_micro_steps(Index micro_steps) {
    throw Error{"moepar::Router: a policy that looks at the whole batch needs a step of one micro-step, this one has " +
                std::to_string(micro_steps) + ". Fix: set micro_steps to 1, or take the policy over a sequence."};
  }

  template <class Rank, class Element>
  static constexpr void route_over_batch(Rank& rank, Matrix<const Element> logits, RoutePlan<Element>& plan) {
    const Index granules = rank.totals().granules, columns = logits.columns;
    const auto scores = rank.arena().template take<double>(logits.rows, columns);
    const auto sums = rank.arena().template take<double>(rank.tree().granules() + 1, columns);  // the last: scales
    if (rank.training())
      for (Index sweep = 0; sweep < sinkhorn_sweeps; ++sweep)
        rank.ledger().add(Axis::world, Operation::all_gather, granules * columns * static_cast<Index>(sizeof(double)));
    if constexpr (!Rank::counting) {
      const GranuleRange own = rank.split().granules_of(rank.rank(), rank.micro_step());
      const auto gather = [&]([[maybe_unused]] Matrix<double> all) {
        const auto size = [](Index count) { return static_cast<std::size_t>(count); };
        if constexpr (Rank::communicates)
          rank.axes().world.all_gather(std::span<const double>{all.row(own.first), size(granules * columns)},
                                       std::span<double>{all.data, size(rank.tree().granules() * columns)});
      };
      double& error = rank.totals().sinkhorn_error[0];
      if (rank.training())
        error = std::max(
            error, sinkhorn_scores_of_batch<Element>(logits, rank.rows().begins, own, rank.tree(), rank.batch().tokens,
                                                     scores, sums.row(rank.tree().granules()), sums, gather));
      select<Element, double>(rank, logits, scores, plan, [](Index) {});
    }
  }

  template <class Element, class Score, class Rank, class Prepare>
  static void select(Rank& rank, ConstMatrix<Element> logits, Matrix<const Score> scores, RoutePlan<Element>& plan,
                     Prepare prepare) {
    auto& totals = rank.totals();
    const RowGroups rows = rank.rows();
    const bool trains = rank.training();
    plan.counts = totals.counts_of(plan.layer);
    rank.device().workers().parallel(rows.granules, [&](Index granule, Index) {
      Index not_a_number = -1;
      const Index begin = rows.begins[granule], end = rows.begins[granule + 1];
      double* probabilities = Policy::balances ? totals.probabilities_of(plan.layer, granule) : nullptr;
      double* z_loss = totals.z_scale != 0 ? totals.z_losses + granule : nullptr;
      Index* counts = plan.counts + granule * totals.experts;
      if (trains) prepare(granule);
      if (trains)
        cpu::dispatch<detail::SelectBody>(Policy{}, logits, scores, begin, end, plan, counts, probabilities, z_loss,
                                          &not_a_number);
      else  // outside of training the largest logits win, whatever balances them
        cpu::dispatch<detail::SelectBody>(Policy{}, logits, logits, begin, end, plan, counts, probabilities, z_loss,
                                          &not_a_number);
      if (not_a_number >= 0 && rank.first_not_finite() < 0)  // else the step finds it, and stops on all ranks
        detail::throw_nan_logit(rank.rank(), plan.layer, granule, not_a_number / logits.columns,
                                not_a_number % logits.columns);
    });
    sort(plan, rows);
  }

  //! Sorted rows: by expert, then token. A token has one slot at most for an expert.
  template <class Element> static void sort(RoutePlan<Element>& plan, const RowGroups& rows) {
    std::fill_n(plan.expert_begin, plan.experts + 1, Index{0});
    for (Index granule = 0; granule < plan.granules; ++granule)
      for (Index e = 0; e < plan.experts; ++e) plan.expert_begin[e + 1] += plan.counts[granule * plan.experts + e];
    for (Index e = 0; e < plan.experts; ++e) plan.expert_begin[e + 1] += plan.expert_begin[e];
    for (Index i = 0; i < rows.rows() * TopK; ++i) {
      const Index sorted = plan.expert_begin[plan.expert[i]]++;
      plan.order[sorted] = i / TopK;
      plan.sorted_weight[sorted] = plan.weight[i];
      plan.place[i] = sorted;
    }
    for (Index e = plan.experts; e > 0; --e) plan.expert_begin[e] = plan.expert_begin[e - 1];
    plan.expert_begin[0] = 0;
  }
};

//! Whether R may stand as the router of a Moe.
template <class R>
concept router = requires {
  typename R::policy;
  { R::top_k } -> std::convertible_to<Index>;
};

}  // namespace moepar
