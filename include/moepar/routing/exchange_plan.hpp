// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstdint>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <string>

namespace moepar {

//! A part of an exchange that is done at once: the granules [begin, end) of the expert group, by their place in its
//! ascending list. When all rows fit there is one pass over all of them; otherwise each is a node of the tree, so that
//! the sums that passes leave can be added by it.
struct ExchangePass {
  Index begin = 0;
  Index end = 0;
};

//! What the members of an expert group know of one layer's exchange: how many rows every granule sends to every expert.
//! All of them make the same passes of it.
struct ExchangePlan {
  Index members = 1;               //!< of the expert group
  Index member = 0;                //!< this rank's position in it
  Index granules = 1;              //!< of a member
  Index experts = 1;               //!< of the layer; member m holds experts [m * local(), (m + 1) * local())
  Index most_rows = 0;             //!< that a member takes at once
  Index* counts = nullptr;         //!< members * granules x experts
  ExchangePass* passes = nullptr;  //!< room for members * granules
  Index pass_count = 1;

  [[nodiscard]] constexpr Index local() const { return experts / members; }
  [[nodiscard]] constexpr Index all_granules() const { return members * granules; }

  //! Rows that granules [begin, end) of the group send to expert `expert`.
  [[nodiscard]] Index rows(Index begin, Index end, Index expert) const {
    Index sum = 0;
    for (Index g = begin; g < end; ++g) sum += counts[g * experts + expert];
    return sum;
  }
  //! ... to all experts of member `owner`.
  [[nodiscard]] Index rows_of_owner(Index begin, Index end, Index owner) const {
    Index sum = 0;
    for (Index e = owner * local(); e < (owner + 1) * local(); ++e) sum += rows(begin, end, e);
    return sum;
  }
  //! The granules of member `of` that pass `pass` carries.
  [[nodiscard]] ExchangePass part_of_member(const ExchangePass& pass, Index of) const {
    const Index first = of * granules, last = first + granules;
    return {std::clamp(pass.begin, first, last), std::clamp(pass.end, first, last)};
  }
  [[nodiscard]] bool fits(const ExchangePass& pass) const {
    for (Index owner = 0; owner < members; ++owner)
      if (rows_of_owner(pass.begin, pass.end, owner) > most_rows) return false;
    return true;
  }
};

namespace detail {

//! Halves a node until its rows fit. range: the node; at: the place of its first granule in the group's list.
inline void split_passes(ExchangePlan& plan, const GranuleTree& tree, GranuleRange range, Index at) {
  const ExchangePass pass{at, at + range.count()};
  if (plan.fits(pass) || range.count() == 1) {
    if (range.count() == 1 && !plan.fits(pass))
      throw Error{"moepar: one sequence sends more rows to the experts of one rank than the " +
                  std::to_string(plan.most_rows) +
                  " that it takes at once. Fix: set receive_rows to at least length x min(TopK, experts of a rank)."};
    plan.passes[plan.pass_count++] = pass;
    return;
  }
  const Index left = tree.left(range.count());
  split_passes(plan, tree, {range.first, range.first + left}, at);
  split_passes(plan, tree, {range.first + left, range.last}, at + left);
}

}  // namespace detail

//! Decides the passes. parts: the ranges of the tree that the group's granules make up (GranuleTable::parts).
template <class Ranges> void make_passes(ExchangePlan& plan, const GranuleTree& tree, const Ranges& parts) {
  plan.pass_count = 0;
  const ExchangePass all{0, plan.all_granules()};
  if (plan.fits(all)) {
    plan.passes[plan.pass_count++] = all;
    return;
  }
  Index at = 0;
  for (const GranuleRange& part : parts) {
    detail::split_passes(plan, tree, part, at);
    at += part.count();
  }
}

}  // namespace moepar
