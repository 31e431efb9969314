// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/attention_blocks.hpp>
#include <moepar/kernels/cpu/block_product.hpp>
#include <moepar/kernels/cpu/elementary.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/kernels/cpu/lanes.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/row_groups.hpp>

namespace moepar::cpu {
namespace detail {

//! What the gradient of attention works on, of one head: one sequence's rows.
template <class Element> struct AttentionGradient {
  HeadOfSequence<const Element> q, k, v, out, out_gradient;
  const Element* log_sum_exp;
  Index log_sum_exp_row;
  HeadOfSequence<Element> dq, dk, dv;
  Index rows, size;
  Element scale;

  //! The next query head, which has the same kv head.
  [[gnu::always_inline]] inline void next_head() {
    q.data += size;
    out.data += size;
    out_gradient.data += size;
    dq.data += size;
    ++log_sum_exp;
  }
};

//! One sequence and kv head: its query heads ascending, their blocks of queries ascending, for each of these the blocks
//! of keys ascending. That is at once the order of the running sums of dk and dv (over heads and queries) and of dq
//! (over keys), so that every probability is computed once.
struct AttentionBackwardBody {
  static constexpr Index block = attention_block;

  template <class Element>
  [[gnu::always_inline]] static inline void query_block(const AttentionGradient<Element>& at, Index first,
                                                        Element* scratch) {
    const Index queries = std::min(block, at.rows - first), size = at.size;
    Element *turned_q = scratch, *turned_gradient = turned_q + size * block;
    Element *scaled_q = turned_gradient + size * block, *sums = scaled_q + size * block;
    Element *p = sums + size * block, *ds = p + block * block;
    Element log_sum_exp[block] = {}, delta[block] = {};
    turn_block(at.q.row(first), at.q.stride, queries, size, at.scale, turned_q);
    turn_block(at.out_gradient.row(first), at.out_gradient.stride, queries, size, Element{1}, turned_gradient);
    for (Index i = 0; i < queries; ++i) {
      for (Index d = 0; d < size; ++d) scaled_q[i * size + d] = at.scale * at.q.row(first + i)[d];
      for (Index d = 0; d < size; ++d) sums[i * size + d] = 0;
      log_sum_exp[i] = at.log_sum_exp[(first + i) * at.log_sum_exp_row];
      delta[i] = lane_dot(at.out_gradient.row(first + i), at.out.row(first + i), size);
    }
    for (Index begin = 0; begin <= first; begin += block) {
      const bool diagonal = begin == first;
      const Index keys = diagonal ? queries : block;
      const Element *k = at.k.row(begin), *v = at.v.row(begin);
      const auto scores = [&](const Element* rows, Index stride, const Element* turned, Element* to)
          __attribute__((always_inline)) {
        BlockProduct<Element>{{rows, stride, 1}, {turned, block}, to, block, keys, block, size, false}.run();
      };
      scores(k, at.k.stride, turned_q, p);
      scores(v, at.v.stride, turned_gradient, ds);
      for (Index key = 0; key < keys; ++key)
        for (Index i = 0; i < block; ++i) p[key * block + i] = exp_of(p[key * block + i] - log_sum_exp[i]);
      for (Index key = 0; key < keys; ++key)
        for (Index i = 0; i < block; ++i) ds[key * block + i] = p[key * block + i] * (ds[key * block + i] - delta[i]);
      const Steps later = diagonal ? Steps::from_row : Steps::all;
      BlockProduct<Element>{{p, block, 1},
                            {at.out_gradient.row(first), at.out_gradient.stride},
                            at.dv.row(begin),
                            at.dv.stride,
                            keys,
                            size,
                            queries,
                            true,
                            later}
          .run();
      BlockProduct<Element>{{ds, block, 1}, {scaled_q, size}, at.dk.row(begin), at.dk.stride, keys, size, queries, true,
                            later}
          .run();
      BlockProduct<Element>{{ds, 1, block},
                            {k, at.k.stride},
                            sums,
                            size,
                            queries,
                            size,
                            keys,
                            true,
                            diagonal ? Steps::up_to_row : Steps::all}
          .run();
    }
    for (Index i = 0; i < queries; ++i)
      for (Index d = 0; d < size; ++d) at.dq.row(first + i)[d] = sums[i * size + d] * at.scale;
  }

  template <class Element>
  [[gnu::always_inline]] static inline void run(AttentionGradient<Element> at, Index heads, Element* scratch) {
    for (Index t = 0; t < at.rows; ++t) {
      for (Index d = 0; d < at.size; ++d) at.dk.row(t)[d] = 0;
      for (Index d = 0; d < at.size; ++d) at.dv.row(t)[d] = 0;
    }
    for (Index head = 0; head < heads; ++head, at.next_head())
      for (Index first = 0; first < at.rows; first += block) query_block(at, first, scratch);
  }
};

}  // namespace detail

//! The gradients of attention from its inputs, its results `out` and `log_sum_exp`, and the gradient of out. Shapes as
//! there; dq, dk and dv have those of q, k and v, and memory of their own. An item of work is one sequence and kv head.
template <class Element>
void attention_backward(Workers& workers, const RowGroups& sequences, ConstMatrix<Element> q, ConstMatrix<Element> k,
                        ConstMatrix<Element> v, ConstMatrix<Element> out, ConstMatrix<Element> log_sum_exp,
                        ConstMatrix<Element> out_gradient, Index heads, Index kv_heads, Matrix<Element> dq,
                        Matrix<Element> dk, Matrix<Element> dv) {
  const Index size = q.columns / heads, group = heads / kv_heads, items = sequences.granules * kv_heads;
  detail::spread(workers, items, detail::attention_cost(q, items), [&](Index item, Index last, Index worker) {
    for (; item < last; ++item) {
      const Index begin = sequences.begins[item / kv_heads], rows = sequences.begins[item / kv_heads + 1] - begin;
      const Index kv = item % kv_heads * size, head = item % kv_heads * group;
      const detail::AttentionGradient<Element> at{.q = detail::head_of(q, begin, head * size),
                                                  .k = detail::head_of(k, begin, kv),
                                                  .v = detail::head_of(v, begin, kv),
                                                  .out = detail::head_of(out, begin, head * size),
                                                  .out_gradient = detail::head_of(out_gradient, begin, head * size),
                                                  .log_sum_exp = log_sum_exp.row(begin) + head,
                                                  .log_sum_exp_row = heads,
                                                  .dq = detail::head_of(dq, begin, head * size),
                                                  .dk = detail::head_of(dk, begin, kv),
                                                  .dv = detail::head_of(dv, begin, kv),
                                                  .rows = rows,
                                                  .size = size,
                                                  .scale = detail::score_scale<Element>(size)};
      dispatch<detail::AttentionBackwardBody>(at, group, reinterpret_cast<Element*>(workers.scratch(worker)));
    }
  });
}

}  // namespace moepar::cpu
