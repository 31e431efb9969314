// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <utility>

#include <moepar/core/error.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>

namespace moepar {

//! A sum over granules. `Value` is the sum itself, or a handle of the buffer that holds it.
template <class Value> struct Part {
  GranuleRange granules;
  Value value{};
};

//! The default way to add two parts: left += right.
struct AddInto {
  template <class Value> constexpr void operator()(Value& left, const Value& right) const { left += right; }
};

namespace detail {

[[noreturn]] inline void throw_part_order(GranuleRange before, GranuleRange part) {
  throw Error{
      "moepar::PartStack: a part of the granules " + text_of(part) + " was pushed after " + text_of(before) +
      ". Fix: push parts in ascending order of granules, each granule once (check the order of rows and ranks)."};
}
[[noreturn]] inline void throw_part_no_node(GranuleRange part, Index granules) {
  throw Error{"moepar::PartStack: the granules " + text_of(part) + " are no node of the tree over " +
              std::to_string(granules) + " granules. Fix: send the cover of a range (for_each_cover_node)."};
}
[[noreturn]] inline void throw_stack_full(Index capacity) {
  throw Error{"moepar::PartStack: more than " + std::to_string(capacity) +
              " parts wait. Fix: push neighbouring parts one after the other, without gaps between them."};
}
[[noreturn]] inline void throw_tree_not_closed(GranuleRange node, const std::string& left_over) {
  throw Error{"moepar::PartStack: the sum over the granules " + text_of(node) + " is not closed, it left " +
              (left_over.empty() ? std::string{"nothing"} : left_over) +
              ". Fix: push every granule once, in ascending order, empty ones included."};
}

}  // namespace detail

//! The one operation by which sums over granules are added, in a kernel, over ranks and over micro-steps: push parts in
//! granule order, and the two newest are added whenever they are the two children of a node. Any cutting of the batch
//! into parts then gives the same bits. The stack never allocates; what is left after a range is its cover.
//! Add(left, right) makes `left` the sum left + right; it may release what the handle `right` stands for.
template <class Value, class Add = AddInto> class PartStack {
 public:
  static constexpr Index capacity = GranuleTree::max_parts;

  constexpr explicit PartStack(const GranuleTree& tree, Add add = {}) : tree_{tree}, add_{std::move(add)} {}

  //! Appends a part and merges. Throws Error if it is no node of the tree, or does not lie behind the parts before it.
  constexpr void push(Part<Value> part) {
    Index first_of[GranuleTree::max_depth] = {};
    Index closing = tree_.closing_ancestors(part.granules, first_of);
    if (closing < 0) detail::throw_part_no_node(part.granules, tree_.granules());
    append(std::move(part));
    for (; closing > 0 && count_ > 1;
         --closing) {  // the parent is there as soon as the part before it is the left child
      const GranuleRange before = part_[count_ - 2].granules;
      if (before.first != first_of[closing - 1] || before.last != part_[count_ - 1].granules.first) break;
      merge();
    }
  }
  constexpr void push(GranuleRange granules, Value value) { push(Part<Value>{granules, std::move(value)}); }

  //! Appends one granule that has rows; granules without any are simply left out (absent + x = x), with the same bits
  //! as if they had been pushed as zeros, up to the sign of a zero. Close with close(), and do not mix with push().
  constexpr void push_present(Index granule, Value value) {
    const GranuleRange leaf{granule, granule + 1};
    if (granule < 0 || granule >= tree_.granules()) detail::throw_granule_range(tree_.granules(), leaf);
    const GranuleRange before = count_ > 0 ? part_[count_ - 1].granules : leaf;
    if (count_ > 0 && before.last > granule) detail::throw_part_order(before, leaf);
    while (count_ > 1) {  // nothing will come between the two newest any more: add them
      const GranuleRange newest = part_[count_ - 1].granules;
      const GranuleRange inner = tree_.node(GranuleRange{part_[count_ - 2].granules.first, newest.last});
      if (!tree_.node(GranuleRange{newest.first, leaf.last}).contains(inner)) break;
      merge();
    }
    append({leaf, std::move(value)});
  }

  //! Merges all parts of present granules from the back; at most one part is left. The granules pushed must all have
  //! belonged to one node of the tree: for a range that is no node, sum each node of its cover on its own.
  constexpr void close() {
    while (count_ > 1) merge();
  }

  //! The parts that are left, ascending.
  [[nodiscard]] constexpr std::span<Part<Value>> parts() { return {part_, static_cast<std::size_t>(count_)}; }
  [[nodiscard]] constexpr std::span<const Part<Value>> parts() const {
    return {part_, static_cast<std::size_t>(count_)};
  }

  [[nodiscard]] constexpr const GranuleTree& tree() const { return tree_; }

  //! Takes the sum over the whole batch, or over `node`, and empties the stack. Throws Error, listing the parts that
  //! are there, unless exactly that one is. The reader of the root adds +0.0f, so that skipped and zero granules agree.
  constexpr Value finish() { return finish({0, tree_.granules()}); }
  constexpr Value finish(GranuleRange node) {
    if (count_ != 1 || part_[0].granules != node) detail::throw_tree_not_closed(node, left_over());
    count_ = 0;
    return std::move(part_[0].value);
  }

  //! Forgets all parts.
  constexpr void clear() { count_ = 0; }

 private:
  constexpr void append(Part<Value> part) {
    if (count_ > 0 && part_[count_ - 1].granules.last > part.granules.first)
      detail::throw_part_order(part_[count_ - 1].granules, part.granules);
    if (count_ == capacity) detail::throw_stack_full(capacity);
    part_[count_++] = std::move(part);
  }

  constexpr void merge() {
    Part<Value>&left = part_[count_ - 2], &right = part_[count_ - 1];
    add_(left.value, right.value);
    left.granules.last = right.granules.last;
    --count_;
  }

  std::string left_over() const {
    std::string text;
    for (const Part<Value>& part : parts()) {
      if (!text.empty()) text += ' ';
      text += detail::text_of(part.granules);
    }
    return text;
  }

  GranuleTree tree_;
  [[no_unique_address]] Add add_;
  Part<Value> part_[static_cast<std::size_t>(capacity)] = {};
  Index count_ = 0;
};

namespace detail {

//! Stands for a sum when only the order of the merges is asked for.
struct CountMerges {
  Index* merges;
  constexpr void operator()(char&, char) const { ++*merges; }
};

}  // namespace detail

//! The merge table when only some granules of a node have rows: merges[i] is how often a kernel adds
//! `sum = stack.pop() + sum` after present[i] (ascending), before the next leaf; after the last it closes. All present
//! granules must lie in one node of the tree, as for PartStack::close.
constexpr void present_merge_table(const GranuleTree& tree, std::span<const Index> present,
                                   std::span<std::uint8_t> merges) {
  if (merges.size() != present.size())
    detail::throw_merge_table({0, static_cast<Index>(present.size())}, merges.size());
  Index count = 0;
  PartStack<char, detail::CountMerges> stack{tree, {&count}};
  for (std::size_t i = 0; i < present.size(); ++i) {
    count = 0;
    stack.push_present(present[i], 0);
    if (i > 0) merges[i - 1] = static_cast<std::uint8_t>(count);
  }
  if (present.empty()) return;
  count = 0;
  stack.close();
  merges[present.size() - 1] = static_cast<std::uint8_t>(count);
}

}  // namespace moepar
