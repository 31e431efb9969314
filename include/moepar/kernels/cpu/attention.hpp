// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cmath>
#include <limits>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/attention_blocks.hpp>
#include <moepar/kernels/cpu/block_product.hpp>
#include <moepar/kernels/cpu/elementary.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/row_groups.hpp>

namespace moepar::cpu {
namespace detail {

//! One block of queries of one head against all keys before it, a block of keys at a time: a softmax that rescales what
//! it has whenever the largest score grows. Scores lie key by key (row = key, column = query), so that every sum and
//! maximum over keys runs down the columns and needs no shuffles.
struct AttentionBody {
  static constexpr Index block = attention_block;

  //! What is kept for each query of the block.
  template <class Element> struct Rows {
    Element maximum[block], sum[block], factor[block];
  };

  //! scores = exp(scores - new maximum); keys beyond `keys`, and on the diagonal those behind the query, count nothing.
  template <class Element>
  [[gnu::always_inline]] static inline void soften(Element* scores, Index keys, bool diagonal, Rows<Element>& rows) {
    constexpr Element none = -std::numeric_limits<Element>::infinity();
    for (Index key = keys; key < block; ++key)
      for (Index i = 0; i < block; ++i) scores[key * block + i] = none;
    if (diagonal)
      for (Index key = 1; key < keys; ++key)
        for (Index i = 0; i < block; ++i) scores[key * block + i] = i < key ? none : scores[key * block + i];
    Element largest[block];
    for (Index i = 0; i < block; ++i) largest[i] = rows.maximum[i];
    for (Index key = 0; key < keys; ++key)
      for (Index i = 0; i < block; ++i)
        largest[i] = largest[i] > scores[key * block + i] ? largest[i] : scores[key * block + i];
    for (Index i = 0; i < block; ++i) rows.factor[i] = exp_of(rows.maximum[i] - largest[i]);
    for (Index i = 0; i < block; ++i) rows.maximum[i] = largest[i];
    for (Index key = 0; key < block; ++key)
      for (Index i = 0; i < block; ++i) scores[key * block + i] = exp_of(scores[key * block + i] - largest[i]);
    Element half_sums[block / 2 * block];  // 64 lanes: key k in lane k
    for (Index j = 0; j < block / 2 * block; ++j) half_sums[j] = scores[j] + scores[j + block / 2 * block];
    for (Index half = block / 4; half > 0; half /= 2)
      for (Index j = 0; j < half * block; ++j) half_sums[j] += half_sums[j + half * block];
    for (Index i = 0; i < block; ++i) rows.sum[i] = std::fma(rows.sum[i], rows.factor[i], half_sums[i]);
  }

  template <class Element>
  [[gnu::always_inline]] static inline void run(HeadOfSequence<const Element> q, HeadOfSequence<const Element> k,
                                                HeadOfSequence<const Element> v, HeadOfSequence<Element> out,
                                                Element* log_sum_exp, Index log_sum_exp_row, Index first, Index queries,
                                                Index size, Element scale, Element* scratch) {
    Element *turned = scratch, *scores = turned + size * block, *sums = scores + block * block;
    Rows<Element> rows;
    for (Index i = 0; i < block; ++i) rows.maximum[i] = -std::numeric_limits<Element>::infinity();
    for (Index i = 0; i < block; ++i) rows.sum[i] = 0;
    turn_block(q.row(first), q.stride, queries, size, scale, turned);
    for (Index i = 0; i < queries * size; ++i) sums[i] = 0;
    for (Index begin = 0; begin <= first; begin += block) {
      const bool diagonal = begin == first;
      const Index keys = diagonal ? queries : block;
      BlockProduct<Element>{{k.row(begin), k.stride, 1}, {turned, block}, scores, block, keys, block, size, false}
          .run();
      soften(scores, keys, diagonal, rows);
      for (Index i = 0; i < queries; ++i)
        for (Index d = 0; d < size; ++d) sums[i * size + d] *= rows.factor[i];
      BlockProduct<Element>{{scores, 1, block},
                            {v.row(begin), v.stride},
                            sums,
                            size,
                            queries,
                            size,
                            keys,
                            true,
                            diagonal ? Steps::up_to_row : Steps::all}
          .run();
    }
    for (Index i = 0; i < queries; ++i) {
      for (Index d = 0; d < size; ++d) out.row(first + i)[d] = sums[i * size + d] / rows.sum[i];
      log_sum_exp[i * log_sum_exp_row] = log_sum_exp_of(rows.maximum[i], rows.sum[i]);
    }
  }
};

}  // namespace detail

//! Causal attention with grouped queries, softmax(q k^T / sqrt(D)) v within each granule of `sequences`, which is one
//! sequence; query head h reads kv head h / (heads / kv_heads). q and out: rows x heads * D, k and v: rows x
//! kv_heads * D, log_sum_exp (of a query's scores, for the gradient): rows x heads. D is even, at most
//! attention_head_size_limit. The bits of a row depend on its own sequence's rows up to it, and on nothing else.
template <class Element>
void attention(Workers& workers, const RowGroups& sequences, ConstMatrix<Element> q, ConstMatrix<Element> k,
               ConstMatrix<Element> v, Index heads, Index kv_heads, Matrix<Element> out, Matrix<Element> log_sum_exp) {
  const Index size = q.columns / heads, group = heads / kv_heads;
  const Element scale = detail::score_scale<Element>(size);
  const Index blocks = detail::query_blocks(sequences);
  const Index items = blocks * heads;
  detail::spread(workers, items, detail::attention_cost(q, items), [&](Index item, Index last, Index worker) {
    for (; item < last; ++item) {
      const Index head = item % heads;
      const detail::QueryBlock at = detail::query_block(sequences, item / heads);
      const Index sequence = sequences.begins[at.sequence];
      dispatch<detail::AttentionBody>(detail::head_of<const Element>(q, sequence, head * size),
                                      detail::head_of<const Element>(k, sequence, head / group * size),
                                      detail::head_of<const Element>(v, sequence, head / group * size),
                                      detail::head_of<Element>(out, sequence, head * size),
                                      log_sum_exp.row(sequence + at.first) + head, heads, at.first, at.queries, size,
                                      scale, reinterpret_cast<Element*>(workers.scratch(worker)));
    }
  });
}

}  // namespace moepar::cpu
