// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <bit>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>

namespace moepar {

//! The granules first, first + 1, ..., last - 1 of the global batch.
struct GranuleRange {
  Index first = 0, last = 0;
  [[nodiscard]] constexpr Index count() const { return last - first; }
  [[nodiscard]] constexpr bool contains(GranuleRange other) const { return first <= other.first && other.last <= last; }
  constexpr bool operator==(const GranuleRange&) const = default;
};

namespace detail {

inline std::string text_of(GranuleRange range) {
  return std::string{'['} + std::to_string(range.first) + ", " + std::to_string(range.last) + ')';
}
[[noreturn]] inline void throw_granule_count(Index granules) {
  throw Error{"moepar::GranuleTree: the number of granules is " + std::to_string(granules) +
              ", it must be 1 to 2^40. Fix: give the number of granules (sequences) of the global batch."};
}
[[noreturn]] inline void throw_tree_factors(Index granules, std::span<const Index> factors) {
  std::string text;
  for (const Index factor : factors) {
    if (!text.empty()) text += " x ";
    text += std::to_string(factor);
  }
  throw Error{"moepar::GranuleTree: the factors " + text + " do not multiply to " + std::to_string(granules) +
              " granules. Fix: give positive factors whose product is the number of granules, or none for its primes."};
}
[[noreturn]] inline void throw_granule_range(Index granules, GranuleRange range) {
  throw Error{"moepar::GranuleTree: the granules " + text_of(range) + " are not a range within [0, " +
              std::to_string(granules) + "). Fix: pass first < last, both within the batch."};
}
[[noreturn]] inline void throw_merge_table(GranuleRange range, std::size_t size) {
  throw Error{"moepar::GranuleTree: the merge table for the granules " + text_of(range) + " has room for " +
              std::to_string(size) + ". Fix: pass one element for each granule, and granules that ascend."};
}

}  // namespace detail

//! The one binary tree by which the granules of a batch are added, wherever their rows are. It depends on the number of
//! granules and its factors only, never on ranks; equal trees give equal bits.
//! With factors f1..fm the levels have nodes of granules, granules / f1, granules / (f1 f2), ..., 1 leaves; where a
//! node of a level splits into more than two of the next, the left child takes a power of two of them: 6 = 2 x 3 is
//! (((0 1) 2) ((3 4) 5)). A family of ranges can all be nodes iff their sizes form a divisor chain. A value without
//! pointers, usable in constant expressions. All queries walk from the root: O(depth), no allocation.
class GranuleTree {
 public:
  static constexpr Index max_granules = Index{1} << 40;
  //! No tree is deeper: 2^40 granules bound the depth by 52 (factors of 5 are the deepest).
  static constexpr Index max_depth = 52;
  //! No range has more maximal nodes, and no stack of parts of a range grows longer.
  static constexpr Index max_parts = 2 * max_depth + 2;

  //! The default tree: the prime factors, ascending, so that halves come first.
  constexpr explicit GranuleTree(Index granules) {
    start(granules);
    Index rest = granules;
    for (Index prime = 2; prime * prime <= rest; ++prime)
      for (; rest % prime == 0; rest /= prime) append(prime);
    append(rest);
  }

  //! A tree with these factors, outermost first; factors of 1 change nothing. Their product must be `granules`.
  constexpr GranuleTree(Index granules, std::span<const Index> factors) {
    start(granules);
    for (const Index factor : factors) {
      if (!detail::divides(factor, size_[levels_ - 1])) detail::throw_tree_factors(granules, factors);
      append(factor);
    }
    if (size_[levels_ - 1] != 1) detail::throw_tree_factors(granules, factors);
  }
  constexpr GranuleTree(Index granules, std::initializer_list<Index> factors)
      : GranuleTree(granules, std::span<const Index>{factors.begin(), factors.size()}) {}

  [[nodiscard]] constexpr Index granules() const { return size_[0]; }

  //! Number of levels, the root's included; node_size(level) is granules() at level 0 and 1 at the last.
  [[nodiscard]] constexpr Index levels() const { return levels_; }
  [[nodiscard]] constexpr Index node_size(Index level) const { return size_[level]; }

  //! Leaves of the left child of a node with `length` leaves, length >= 2.
  [[nodiscard]] constexpr Index left(Index length) const {
    Index level = 0;
    return left_from(length, level);
  }

  //! The smallest node that holds all granules of `range`.
  [[nodiscard]] constexpr GranuleRange node(GranuleRange range) const {
    require_range(range);
    GranuleRange at{0, granules()};
    for (Index level = 0; at.count() > 1;) {
      const Index middle = at.first + left_from(at.count(), level);
      if (range.last <= middle)
        at.last = middle;
      else if (range.first >= middle)
        at.first = middle;
      else
        break;
    }
    return at;
  }

  [[nodiscard]] constexpr bool is_node(GranuleRange range) const { return node(range) == range; }

  //! Whether the two ranges, `second` right behind `first`, are the two children of one node.
  [[nodiscard]] constexpr bool siblings(GranuleRange first, GranuleRange second) const {
    if (first.last != second.first) return false;
    const GranuleRange both{first.first, second.last};
    return node(both) == both && left(both.count()) == first.count();
  }

  //! Walks from the root to the node `node` and writes into first_of the first granules of those ancestors, outermost
  //! first, that end where it ends: each is a right child's parent, all that may close once `node` is there. Returns
  //! their number, or -1 if there is no such node. This is what pushing a part needs to know, in one walk.
  constexpr Index closing_ancestors(GranuleRange node, Index (&first_of)[max_depth]) const {
    require_range(node);
    GranuleRange at{0, granules()};
    Index count = 0;
    for (Index level = 0; at != node;) {
      if (at.count() == 1) return -1;
      const Index middle = at.first + left_from(at.count(), level);
      if (node.first >= middle) {
        first_of[count++] = at.first;
        at.first = middle;
      } else if (node.last <= middle) {
        count = 0;
        at.last = middle;
      } else {
        return -1;
      }
    }
    return count;
  }

  //! How many merges follow when granule `granule` was pushed, all granules from `first` on having been pushed before:
  //! the nodes that end at this granule and begin at `first` or later.
  [[nodiscard]] constexpr Index merges_after(Index granule, Index first = 0) const {
    require_range({first, granule + 1});
    Index count = 0;
    GranuleRange at{0, granules()};
    for (Index level = 0; at.count() > 1;) {
      count += at.last == granule + 1 && at.first >= first ? 1 : 0;
      const Index middle = at.first + left_from(at.count(), level);
      (granule < middle ? at.last : at.first) = middle;
    }
    return count;
  }

  //! Fills merges[i] = merges_after(range.first + i, range.first): the schedule of a kernel that keeps a stack of sums
  //! and after leaf i adds merges[i] times `sum = stack.pop() + sum`. What then is on the stack is the range's cover.
  constexpr void merge_table(GranuleRange range, std::span<std::uint8_t> merges) const {
    require_range(range);
    if (static_cast<Index>(merges.size()) != range.count()) detail::throw_merge_table(range, merges.size());
    for (Index granule = range.first; granule < range.last; ++granule)
      merges[static_cast<std::size_t>(granule - range.first)] =
          static_cast<std::uint8_t>(merges_after(granule, range.first));
  }

  //! Depth of the tree: the longest way from the root to a leaf, and one less than the sums that a stack can hold.
  [[nodiscard]] constexpr Index depth() const {
    Index depth = 0;  // of a level: the left children of a node of f parts halve it ceil(log2 f) times
    for (Index level = 1; level < levels_; ++level)
      depth += static_cast<Index>(std::bit_width(static_cast<std::uint64_t>(size_[level - 1] / size_[level] - 1)));
    return depth;
  }

  constexpr bool operator==(const GranuleTree&) const = default;

 private:
  template <class Visit>
  friend constexpr void for_each_cover_node(const GranuleTree& tree, GranuleRange range, Visit visit);

  constexpr void start(Index granules) {
    if (granules < 1 || granules > max_granules) detail::throw_granule_count(granules);
    size_[0] = granules;
    levels_ = 1;
  }

  constexpr void append(Index factor) {
    if (factor == 1) return;
    size_[levels_] = size_[levels_ - 1] / factor;
    ++levels_;
  }

  constexpr void require_range(GranuleRange range) const {
    if (range.first < 0 || range.first >= range.last || range.last > granules())
      detail::throw_granule_range(granules(), range);
  }

  // left(length), with `level` a level whose nodes are not smaller than those below this node; moves it down, so that a
  // walk from the root passes each level once.
  [[nodiscard]] constexpr Index left_from(Index length, Index& level) const {
    while (size_[level] >= length) ++level;
    const Index unit = size_[level];
    return static_cast<Index>(std::bit_floor(static_cast<std::uint64_t>(length / unit - 1))) * unit;
  }

  Index size_[42] = {};  // 40 factors of at least 2
  Index levels_ = 0;
};

//! Calls visit(GranuleRange) for the cover of `range`, ascending: the largest nodes inside it, which are also the parts
//! that pushing its granules leaves. One node: the range nests, and its holder sends one part.
template <class Visit> constexpr void for_each_cover_node(const GranuleTree& tree, GranuleRange range, Visit visit) {
  tree.require_range(range);
  for (Index first = range.first; first < range.last;) {  // the largest node that begins here and ends in time
    GranuleRange at{0, tree.granules()};
    for (Index level = 0; at.first != first || at.last > range.last;) {
      const Index middle = at.first + tree.left_from(at.count(), level);
      (first < middle ? at.last : at.first) = middle;
    }
    visit(at);
    first = at.last;
  }
}

//! The number of parts that the holder of `range` sends.
[[nodiscard]] constexpr Index cover_size(const GranuleTree& tree, GranuleRange range) {
  Index count = 0;
  for_each_cover_node(tree, range, [&](GranuleRange) { ++count; });
  return count;
}

}  // namespace moepar
