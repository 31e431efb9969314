// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>

namespace moepar {

//! One array of an all_gather of several: the members meet once for all of them.
template <class T> struct GatherPiece {
  const T* own = nullptr;         //!< counts[rank] elements; may be their place in `all`
  T* all = nullptr;               //!< the contributions of members 0, 1, ..., one behind the other
  const Index* counts = nullptr;  //!< one a member, the same list on every member
};

//! One array of a reduce_scatter of several. Part p of this member lies at own + p * stride and has sum(counts)
//! elements; sum p of what the member gets goes to sums + p * sum_stride and has counts[rank] elements. Nobody writes
//! the parts during the call, and the sums lie elsewhere; but where one sum is left, it may lie on exactly the elements
//! of one of this member's own parts that it is the sum of.
template <class T> struct ReducePiece {
  const T* own = nullptr;
  Index stride = 0;
  const Index* counts = nullptr;  //!< one a member, the same list on every member
  T* sums = nullptr;
  Index sum_stride = 0;
};

}  // namespace moepar
