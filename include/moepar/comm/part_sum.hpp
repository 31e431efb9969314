// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <concepts>
#include <cstddef>
#include <moepar/comm/scratch.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/part_stack.hpp>
#include <span>
#include <utility>
#include <vector>

namespace moepar {

//! How the parts of several holders are added by a tree: planned once from their granules, then run on any number of
//! arrays. clear(), add() every part, plan(), then sums() and run(). Keeps its memory from plan to plan.
class PartSum {
 public:
  void clear() { parts_.clear(); }

  //! A part, in any order. source: the number by which run() asks for its elements.
  void add(GranuleRange granules, Index source) { parts_.push_back({granules, source}); }

  //! Pushes the parts in granule order. Throws Error when they overlap or are no nodes (PartStack).
  void plan(const GranuleTree& tree) {
    std::sort(parts_.begin(), parts_.end(),
              [](const auto& a, const auto& b) { return a.granules.first < b.granules.first; });
    steps_.clear();
    rows_ = 0;
    Index merges = 0,
          height = 0;  // of the stack, whose entry i is a source or row i
    PartStack<char, detail::CountMerges> stack{tree, {&merges}};
    Place stacked[GranuleTree::max_parts];
    for (const auto& part : parts_) {
      merges = 0;
      stack.push(part.granules, 0);
      stacked[height++] = {Where::source, part.source};
      for (; merges > 0; --merges, --height) {
        const Place row{Where::row, height - 2};
        steps_.push_back({stacked[height - 2], stacked[height - 1], row, true});
        stacked[height - 2] = row;
        rows_ = std::max(rows_, row.number + 1);
      }
    }
    sums_.clear();
    for (const auto& sum : stack.parts()) {
      const Place target{Where::sum, static_cast<Index>(sums_.size())}, from = stacked[target.number];
      sums_.push_back(sum.granules);
      const auto last = std::find_if(steps_.rbegin(), steps_.rend(), [&](const Step& step) {
        return from.where == Where::row && step.out.where == Where::row && step.out.number == from.number;
      });
      if (last != steps_.rend())
        last->out = target;  // the last addition writes the sum itself
      else
        steps_.push_back({from, from, target, false});
    }
  }

  //! The granules of the sums that are left, ascending: one where the parts fill a node of the tree, else the cover.
  [[nodiscard]] std::span<const GranuleRange> sums() const { return sums_; }

  //! Adds `count` elements of each part: source(number) is a pointer to them, sum(i) to where sum i goes. Block by
  //! block, so that what waits stays in cache and memory is read and written once.
  template <std::floating_point T, class Source, class Sum>
  void run(Index count, Source source, Sum sum, Scratch& scratch) const {
    T* const rows = scratch.room_for<T>(rows_ * block);
    for (Index at = 0; at < count; at += block) {
      const Index elements = std::min(block, count - at);
      const auto row = [&](Place place) { return rows + place.number * block; };
      const auto input = [&](Place place) -> const T* {
        return place.where == Where::row ? row(place) : source(place.number) + at;
      };
      for (const Step& step : steps_) {
        T* const out = step.out.where == Where::row ? row(step.out) : sum(step.out.number) + at;
        if (step.adds)
          add(out, input(step.left), input(step.right), elements);
        else if (out != input(step.left))
          std::copy_n(input(step.left), elements, out);
      }
    }
  }

 private:
  static constexpr Index block = 1024;
  enum class Where { source, row, sum };
  struct Place {
    Where where = Where::source;
    Index number = 0;
  };
  struct Step {
    Place left, right, out;
    bool adds = true;  //!< else a copy of `left`
  };

  // Three loops over arrays that do not overlap, and a number of elements that is known for whole blocks: then also
  // compilers that weigh code size vectorise them.
  template <class T> static void add(T* out, const T* left, const T* right, Index elements) {
    if (out == right) std::swap(left, right);  // the sum of two is the same either way round
    if (elements == block)
      out == left ? add_into(out, right, block) : add_apart(out, left, right, block);
    else
      out == left ? add_into(out, right, elements) : add_apart(out, left, right, elements);
  }
  template <class T>
  [[gnu::always_inline]] static void add_apart(T* __restrict__ out, const T* __restrict__ left,
                                               const T* __restrict__ right, Index elements) {
    for (Index i = 0; i < elements; ++i) out[i] = left[i] + right[i];
  }
  template <class T>
  [[gnu::always_inline]] static void add_into(T* __restrict__ sum, const T* __restrict__ part, Index elements) {
    for (Index i = 0; i < elements; ++i) sum[i] += part[i];
  }

  struct Planned {
    GranuleRange granules;
    Index source;
  };
  std::vector<Planned> parts_;
  std::vector<Step> steps_;
  std::vector<GranuleRange> sums_;
  Index rows_ = 0;
};

}  // namespace moepar
