// SPDX-License-Identifier: Apache-2.0
// Attention and its gradient against the same sums written one element after the other, against softmax in 64 bits and
// against central differences.
#include "kernel_test.hpp"
//
#include <moepar/core/elementary.hpp>
#include <moepar/core/row_sum.hpp>
#include <moepar/kernels/cpu/attention.hpp>
#include <moepar/kernels/cpu/attention_backward.hpp>
#include <span>
#include <tuple>

using namespace kernel_test;
using moepar::Matrix;

namespace {

struct Shape {
  std::vector<Index> lengths;
  Index heads, kv_heads, size;
};

template <class Element> struct Attention {
  explicit Attention(const Shape& shape)
      : sequences{shape.lengths},
        rows{sequences.rows()},
        heads{shape.heads},
        kv_heads{shape.kv_heads},
        size{shape.size},
        q{numbers<Element>(rows * heads * size, "q")},
        k{numbers<Element>(rows * kv_heads * size, "k")},
        v{numbers<Element>(rows * kv_heads * size, "v")},
        out_gradient{numbers<Element>(rows * heads * size, "out_gradient")},
        out(q.size()),
        log_sum_exp(size_of(rows * heads)),
        dq(q.size()),
        dk(k.size()),
        dv(v.size()) {
    for (Element& value : q) value *= 3;
  }

  Matrix<Element> of(Values<Element>& values, Index columns) { return {values.data(), rows, columns}; }

  void forward(cpu::Workers& workers) {
    cpu::attention<Element>(workers, sequences.view(), of(q, heads * size), of(k, kv_heads * size),
                            of(v, kv_heads * size), heads, kv_heads, of(out, heads * size), of(log_sum_exp, heads));
  }
  void backward(cpu::Workers& workers) {
    cpu::attention_backward<Element>(workers, sequences.view(), of(q, heads * size), of(k, kv_heads * size),
                                     of(v, kv_heads * size), of(out, heads * size), of(log_sum_exp, heads),
                                     of(out_gradient, heads * size), heads, kv_heads, of(dq, heads * size),
                                     of(dk, kv_heads * size), of(dv, kv_heads * size));
  }
  Values<Element> all() const {
    Values<Element> values = out;
    for (const auto* part : {&log_sum_exp, &dq, &dk, &dv}) values.insert(values.end(), part->begin(), part->end());
    return values;
  }
  Values<Element> run(cpu::Workers& workers) {
    for (auto* values : {&out, &log_sum_exp, &dq, &dk, &dv}) std::fill(values->begin(), values->end(), Element{7});
    forward(workers);
    backward(workers);
    return all();
  }

  Granules sequences;
  Index rows, heads, kv_heads, size;
  Values<Element> q, k, v, out_gradient, out, log_sum_exp, dq, dk, dv;
};

//! The definition of the bits: every sum written out.
struct Definition {
  explicit Definition(Attention<float>& attention) : at{attention} {
    for (auto* values : {&at.dq, &at.dk, &at.dv}) std::fill(values->begin(), values->end(), 0.0f);
    for (std::size_t i = 0; i + 1 < at.sequences.begins.size(); ++i)
      for (Index head = 0; head < at.heads; ++head)
        for (Index t = at.sequences.begins[i]; t < at.sequences.begins[i + 1]; ++t)
          row(at.sequences.begins[i], t, head);
  }

  const float* of_query(const Values<float>& values, Index t, Index head) const {
    return values.data() + (t * at.heads + head) * at.size;
  }
  Index of_key(Index t, Index head) const { return (t * at.kv_heads + head / (at.heads / at.kv_heads)) * at.size; }

  void row(Index begin, Index t, Index head) {
    const float scale = static_cast<float>(1.0 / std::sqrt(static_cast<double>(at.size)));
    const Index size = at.size;
    Values<float> scaled, scores, sums(size_of(size)), dq(size_of(size));
    for (Index d = 0; d < size; ++d) scaled.push_back(scale * of_query(at.q, t, head)[d]);
    const auto chain = [&](const float* left, const Values<float>& right, Index key) {
      float sum = 0;
      for (Index d = 0; d < size; ++d) sum = std::fma(left[d], right[size_of(of_key(key, head) + d)], sum);
      return sum;
    };
    for (Index key = begin; key <= t; ++key) scores.push_back(chain(scaled.data(), at.k, key));
    float maximum = -std::numeric_limits<float>::infinity(), total = 0;
    for (Index first = 0; first <= t - begin; first += 64) {  // blocks of 64 keys
      const Index last = std::min(first + 64, t - begin + 1);
      float larger = maximum;
      Values<float> powers;
      for (Index key = first; key < last; ++key) larger = std::max(larger, scores[size_of(key)]);
      for (Index key = first; key < last; ++key) powers.push_back(moepar::exp32(scores[size_of(key)] - larger));
      const float factor = moepar::exp32(maximum - larger);
      total = std::fma(total, factor, moepar::row_sum(std::span{powers}));
      maximum = larger;
      for (Index d = 0; d < size; ++d) {
        float& sum = sums[size_of(d)];
        sum *= factor;
        for (Index key = first; key < last; ++key)
          sum = std::fma(powers[size_of(key - first)], at.v[size_of(of_key(begin + key, head) + d)], sum);
      }
    }
    const Index query = (t * at.heads + head) * size;
    for (Index d = 0; d < size; ++d) at.out[size_of(query + d)] = sums[size_of(d)] / total;
    const float log_sum_exp = moepar::log_sum_exp(maximum, total);
    at.log_sum_exp[size_of(t * at.heads + head)] = log_sum_exp;

    const std::span<const float> outer{of_query(at.out_gradient, t, head), size_of(size)};
    const float delta = moepar::row_dot(outer, std::span<const float>{of_query(at.out, t, head), size_of(size)});
    for (Index key = begin; key <= t; ++key) {
      const float p = moepar::exp32(scores[size_of(key - begin)] - log_sum_exp);
      const float ds = p * (chain(outer.data(), at.v, key) - delta);
      for (Index d = 0; d < size; ++d) {
        const std::size_t place = size_of(of_key(key, head) + d);
        dq[size_of(d)] = std::fma(ds, at.k[place], dq[size_of(d)]);
        at.dk[place] = std::fma(ds, scaled[size_of(d)], at.dk[place]);
        at.dv[place] = std::fma(p, outer[size_of(d)], at.dv[place]);
      }
    }
    for (Index d = 0; d < size; ++d) at.dq[size_of(query + d)] = dq[size_of(d)] * scale;
  }

  Attention<float>& at;
};

const std::vector<Shape> shapes{{{0, 1, 5, 0, 67}, 4, 2, 6},   {{130}, 2, 1, 16},   {{64, 3, 65}, 3, 3, 2},
                                {{70, 129}, 6, 2, 18},         {{33, 2}, 2, 2, 64}, {{40}, 1, 1, 128},
                                {{1, 1, 1, 1, 1, 1}, 2, 1, 8}, {{0}, 2, 1, 8},      {{66}, 1, 1, 42}};

}  // namespace

TEST_CASE("attention: the definition's bits on every machine") {
  for (const Shape& shape : shapes) {
    Attention<float> attention{shape};
    CAPTURE(shape.size);
    Definition{attention};
    check_everywhere(attention.all(), [&](cpu::Workers& workers) { return attention.run(workers); });
  }
}

TEST_CASE("attention: softmax(q k^T / sqrt(D)) v in 64 bits") {
  Attention<double> at{{{67, 0, 5}, 4, 2, 6}};
  at.forward(one_worker());
  for (std::size_t i = 0; i < 3; ++i)
    for (Index t = at.sequences.begins[i]; t < at.sequences.begins[i + 1]; ++t)
      for (Index head = 0; head < 4; ++head) {
        double total = 0, sums[6] = {};
        for (Index key = at.sequences.begins[i]; key <= t; ++key) {
          double score = 0;
          for (Index d = 0; d < 6; ++d)
            score += at.q[size_of((t * 4 + head) * 6 + d)] * at.k[size_of((key * 2 + head / 2) * 6 + d)];
          total += std::exp(score / std::sqrt(6.0));
          for (Index d = 0; d < 6; ++d)
            sums[d] += std::exp(score / std::sqrt(6.0)) * at.v[size_of((key * 2 + head / 2) * 6 + d)];
        }
        for (Index d = 0; d < 6; ++d)
          CHECK(at.out[size_of((t * 4 + head) * 6 + d)] == doctest::Approx(sums[d] / total).epsilon(1e-12));
        CHECK(at.log_sum_exp[size_of(t * 4 + head)] == doctest::Approx(std::log(total)).epsilon(1e-12));
      }
}

TEST_CASE("attention: gradients agree with central differences, grouped queries, over the border of a block") {
  for (const Shape& shape : {Shape{{0}, 2, 1, 4}, {{1}, 2, 1, 4}, {{3, 0, 66}, 2, 1, 2}, {{7, 9}, 4, 2, 6}}) {
    Attention<double> at{shape};
    at.run(one_worker());
    const Attention<double> gradient = at;
    const auto objective = [&] {
      at.forward(one_worker());
      return dot(at.out, at.out_gradient);
    };
    const std::size_t stride = at.rows > 20 ? 7 : 5;  // prime to the number of columns: each has its turn
    check_gradient(at.q, gradient.dq, objective, stride);
    check_gradient(at.k, gradient.dk, objective, stride);
    check_gradient(at.v, gradient.dv, objective, stride);
  }
}

TEST_CASE("attention: a row depends on its own sequence's rows up to it; scratch and rows beyond do not matter") {
  const Shape shape{{70, 5, 66}, 4, 2, 10};
  Attention<float> at{shape};
  const Values<float> clean = at.run(one_worker());
  const float nan = std::numeric_limits<float>::quiet_NaN();
  const Index begin = 75, first_bad = 75 + 45;  // in the last sequence
  for (auto* values : {&at.q, &at.k, &at.v, &at.out_gradient}) {
    const Index columns = static_cast<Index>(values->size()) / at.rows;
    std::fill(values->begin(), values->begin() + begin * columns, nan);    // other sequences
    std::fill(values->begin() + first_bad * columns, values->end(), nan);  // later rows
  }
  on_every_machine([&](cpu::Workers& workers) {
    for (Index worker = 0; worker < workers.count(); ++worker) {
      auto* scratch = reinterpret_cast<float*>(workers.scratch(worker));
      std::fill(scratch, scratch + cpu::Workers::scratch_bytes / 4, nan);
    }
    const Values<float> found = at.run(workers);
    for (Index i = begin * 40; i < first_bad * 40; ++i) REQUIRE(found[size_of(i)] == clean[size_of(i)]);  // out
    for (Index i = begin * 4; i < first_bad * 4; ++i)
      REQUIRE(found[size_of(at.rows * 40 + i)] == clean[size_of(at.rows * 40 + i)]);  // log_sum_exp
    for (Index i = begin * 40; i < first_bad * 40; ++i)
      REQUIRE(found[size_of(at.rows * 44 + i)] == clean[size_of(at.rows * 44 + i)]);  // dq
  });
}

TEST_CASE("attention: a sequence's bits do not depend on where it lies or on its neighbours; subnormals survive") {
  Attention<float> alone{{{67}, 2, 1, 10}}, among{{{9, 67, 130}, 2, 1, 10}};
  for (float& value : alone.v) value *= 0x1p-135f;
  const auto place = [](const Values<float>& from, Values<float>& to, Index columns) {
    std::copy(from.begin(), from.end(), to.begin() + 9 * columns);
  };
  place(alone.q, among.q, 20);
  place(alone.k, among.k, 10);
  place(alone.v, among.v, 10);
  place(alone.out_gradient, among.out_gradient, 20);
  alone.run(one_worker());
  CHECK(alone.out[5] != 0.0f);
  on_every_machine([&](cpu::Workers& workers) {
    among.run(workers);
    for (const auto& [small, large, columns] : {std::tuple{&alone.out, &among.out, Index{20}},
                                                {&alone.dq, &among.dq, Index{20}},
                                                {&alone.dk, &among.dk, Index{10}},
                                                {&alone.dv, &among.dv, Index{10}}}) {
      const Values<float> part{large->begin() + 9 * columns, large->begin() + 76 * columns};
      CHECK(same_bits(part, *small));
    }
  });
}
