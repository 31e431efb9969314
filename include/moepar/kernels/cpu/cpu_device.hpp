// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/kernels/cpu/attention.hpp>
#include <moepar/kernels/cpu/attention_backward.hpp>
#include <moepar/kernels/cpu/cross_entropy.hpp>
#include <moepar/kernels/cpu/elementwise.hpp>
#include <moepar/kernels/cpu/embedding.hpp>
#include <moepar/kernels/cpu/gemm/products.hpp>
#include <moepar/kernels/cpu/gemm/weight_gradient.hpp>
#include <moepar/kernels/cpu/rms_norm.hpp>
#include <moepar/kernels/cpu/rms_norm_backward.hpp>
#include <moepar/kernels/cpu/rotary.hpp>
#include <moepar/kernels/cpu/rows.hpp>
#include <moepar/kernels/cpu/swiglu.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/gradient_parts.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/row_groups.hpp>
#include <span>
#include <string>

namespace moepar {

//! The operations of a device on host memory, each finished when it returns. Matrices may have room for more rows than
//! RowGroups says there are; those are neither read nor written. Shapes are the caller's promise.
class CpuDevice {
 public:
  static constexpr bool counting = false;

  explicit CpuDevice(Index workers = 1) : workers_{workers} {}

  [[nodiscard]] cpu::Workers& workers() { return workers_; }

  template <class Element>
  void multiply(const RowGroups& rows, ConstMatrix<Element> input, ConstMatrix<Element> weight,
                Matrix<Element> output) {
    cpu::multiply<Element>(workers_, rows, input, weight, output);
  }
  template <class Element>
  void multiply_transposed(const RowGroups& rows, ConstMatrix<Element> output_gradient, ConstMatrix<Element> weight,
                           Matrix<Element> input_gradient) {
    cpu::multiply_transposed<Element>(workers_, rows, output_gradient, weight, input_gradient);
  }
  template <class Element>
  void multiply_transposed_onto(const RowGroups& rows, ConstMatrix<Element> output_gradient,
                                ConstMatrix<Element> weight, Matrix<Element> input_gradient) {
    cpu::multiply_transposed_onto<Element>(workers_, rows, output_gradient, weight, input_gradient);
  }
  template <class Element>
  void weight_gradient(const RowGroups& rows, ConstMatrix<Element> output_gradient, ConstMatrix<Element> input,
                       GradientParts<Element> gradient) {
    cpu::weight_gradient<Element>(workers_, rows, output_gradient, input, gradient);
  }

  template <class Element>
  void swiglu(const RowGroups& rows, ConstMatrix<Element> gate, ConstMatrix<Element> up, Matrix<Element> product) {
    cpu::swiglu<Element>(workers_, used(rows, gate), used(rows, up), used(rows, product));
  }
  template <class Element>
  void swiglu_backward(const RowGroups& rows, ConstMatrix<Element> gate, ConstMatrix<Element> up,
                       ConstMatrix<Element> product_gradient, Matrix<Element> gate_gradient,
                       Matrix<Element> up_gradient) {
    cpu::swiglu_backward<Element>(workers_, used(rows, gate), used(rows, up), used(rows, product_gradient),
                                  used(rows, gate_gradient), used(rows, up_gradient));
  }
  template <class Element>
  void add(const RowGroups& rows, ConstMatrix<Element> a, ConstMatrix<Element> b, Matrix<Element> sum) {
    cpu::add<Element>(workers_, used(rows, a), used(rows, b), used(rows, sum));
  }

  template <class Element>
  bool rms_norm(const RowGroups& rows, ConstMatrix<Element> input, ConstMatrix<Element> weight, double epsilon,
                Matrix<Element> output, Matrix<Element> inverse) {
    return cpu::rms_norm<Element>(workers_, used(rows, input), weight, static_cast<Element>(epsilon),
                                  used(rows, output), used(rows, inverse));
  }
  template <class Element>
  bool rms_norm_backward(const RowGroups& rows, ConstMatrix<Element> output_gradient, ConstMatrix<Element> input,
                         ConstMatrix<Element> weight, ConstMatrix<Element> inverse, Matrix<Element> input_gradient,
                         GradientParts<Element> weight_gradient) {
    return cpu::rms_norm_backward<Element>(workers_, rows, used(rows, output_gradient), used(rows, input), weight,
                                           used(rows, inverse), used(rows, input_gradient), weight_gradient);
  }

  void rotary_table(Index positions, Index head_size, double theta, Matrix<float> cosine, Matrix<float> sine) {
    cpu::rotary_table(positions, head_size, theta, cosine, sine);
  }
  //! table: cosine and sine of ParallelRank::rotary.
  template <class Element, class Table>
  void rotate(const RowGroups& rows, Matrix<Element> heads, const Table& table, bool inverse) {
    cpu::rotate<Element>(workers_, rows, used(rows, heads), table.head_size, table.cosine, table.sine, inverse);
  }
  template <class Element>
  void attention(const RowGroups& rows, Index /*length*/, ConstMatrix<Element> query, ConstMatrix<Element> key,
                 ConstMatrix<Element> value, Index heads, Index kv_heads, Matrix<Element> context,
                 Matrix<Element> log_sum_exp) {
    cpu::attention<Element>(workers_, rows, used(rows, query), used(rows, key), used(rows, value), heads, kv_heads,
                            used(rows, context), used(rows, log_sum_exp));
  }
  template <class Element>
  void attention_backward(const RowGroups& rows, Index /*length*/, ConstMatrix<Element> query, ConstMatrix<Element> key,
                          ConstMatrix<Element> value, ConstMatrix<Element> context, ConstMatrix<Element> log_sum_exp,
                          ConstMatrix<Element> context_gradient, Index heads, Index kv_heads,
                          Matrix<Element> query_gradient, Matrix<Element> key_gradient,
                          Matrix<Element> value_gradient) {
    cpu::attention_backward<Element>(workers_, rows, used(rows, query), used(rows, key), used(rows, value),
                                     used(rows, context), used(rows, log_sum_exp), used(rows, context_gradient), heads,
                                     kv_heads, used(rows, query_gradient), used(rows, key_gradient),
                                     used(rows, value_gradient));
  }

  //! Throws Error when an id is no row of the table.
  template <class Element>
  void embed(const RowGroups& rows, const std::int32_t* ids, ConstMatrix<Element> table, Matrix<Element> output) {
    const std::span used_ids{ids, count(rows.rows())};
    for (const std::int32_t id : used_ids)
      if (id < 0 || id >= table.rows)
        throw Error{"moepar::Embedding: there is no token " + std::to_string(id) + " in a vocabulary of " +
                    std::to_string(table.rows) + ". Fix: use the tokenizer that belongs to the model."};
    cpu::embed<Element>(workers_, used_ids, table, used(rows, output));
  }
  template <class Element>
  void embedding_gradient(const RowGroups& rows, const std::int32_t* ids, ConstMatrix<Element> output_gradient,
                          GradientParts<Element> gradient, Matrix<Index> scratch) {
    cpu::embedding_gradient<Element>(workers_, rows, std::span{ids, count(rows.rows())}, used(rows, output_gradient),
                                     gradient, std::span{scratch.data, count(scratch.size())});
  }

  //! logits become their gradient; targets, losses: one a row.
  template <class Element>
  void cross_entropy(const RowGroups& rows, Matrix<Element> logits, const std::int32_t* targets, double scale,
                     double* losses) {
    cpu::cross_entropy<Element>(workers_, used(rows, logits), std::span{targets, count(rows.rows())},
                                static_cast<Element>(scale), std::span{losses, count(rows.rows())});
  }
  template <class Element>
  void cross_entropy_losses(const RowGroups& rows, Matrix<Element> logits, const std::int32_t* targets,
                            double* losses) {
    cpu::cross_entropy_losses<Element>(workers_, used(rows, logits), std::span{targets, count(rows.rows())},
                                       std::span{losses, count(rows.rows())});
  }

  //! out[i] = [weights[i] x] from[rows[i]] for i < row_count.
  template <class Element>
  void gather_rows(ConstMatrix<Element> from, const Index* rows, const Element* weights, Index row_count,
                   Matrix<Element> out) {
    out.rows = row_count;
    if (weights == nullptr)
      cpu::gather_rows<Element>(workers_, from, std::span{rows, count(row_count)}, out);
    else
      cpu::scale_gather_rows<Element>(workers_, from, std::span{rows, count(row_count)},
                                      std::span{weights, count(row_count)}, out);
  }
  template <class Element>
  void combine_rows(const RowGroups& rows, ConstMatrix<Element> from, const Index* place, const Element* weights,
                    Index slots, Matrix<Element> out) {
    const std::size_t size = count(rows.rows() * slots);
    cpu::combine_rows<Element>(workers_, from, std::span{place, size}, std::span{weights, size}, slots,
                               used(rows, out));
  }
  template <class Element>
  void sum_rows(const RowGroups& rows, ConstMatrix<Element> from, const Index* place, Index slots,
                Matrix<Element> out) {
    cpu::sum_rows<Element>(workers_, from, std::span{place, count(rows.rows() * slots)}, slots, used(rows, out));
  }
  //! dots[i] = a[a_rows[i]] . b[i] for i < row_count.
  template <class Element>
  void row_dots(ConstMatrix<Element> a, const Index* a_rows, ConstMatrix<Element> b, Index row_count, Element* dots) {
    cpu::row_dots<Element>(workers_, a, std::span{a_rows, count(row_count)}, b, {}, std::span{dots, count(row_count)});
  }

  template <class Element> void add_onto(Matrix<Element> sum, ConstMatrix<Element> other) {
    cpu::add<Element>(workers_, sum, other, sum);
  }
  template <class Element> void copy(ConstMatrix<Element> from, Matrix<Element> to) {
    std::copy_n(from.data, from.size(), to.data);
  }

 private:
  static constexpr std::size_t count(Index index) { return static_cast<std::size_t>(index); }
  template <class Element> static Matrix<Element> used(const RowGroups& rows, Matrix<Element> matrix) {
    matrix.rows = rows.rows();
    return matrix;
  }

  cpu::Workers workers_;
};

}  // namespace moepar
