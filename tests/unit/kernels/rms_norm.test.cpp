// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"
//
#include <moepar/core/row_sum.hpp>
#include <moepar/kernels/cpu/rms_norm.hpp>
#include <moepar/kernels/cpu/rms_norm_backward.hpp>
#include <span>

using namespace kernel_test;
using moepar::GradientParts;

namespace {

constexpr double epsilon = 1e-5;

template <class Element> struct Norm {
  Norm(const Granules& granules, Index width)
      : rows{granules},
        columns{width},
        x{numbers<Element>(rows.rows() * columns, "x")},
        weight{numbers<Element>(columns, "weight")},
        dy{numbers<Element>(rows.rows() * columns, "dy")},
        y(x.size()),
        inverse(size_of(rows.rows())),
        dx(x.size()),
        weight_gradient(size_of(rows.parts * columns)) {}

  bool forward(cpu::Workers& workers) {
    return cpu::rms_norm<Element>(workers, of(x), {weight.data(), 1, columns}, static_cast<Element>(epsilon), of(y),
                                  {inverse.data(), rows.rows(), 1});
  }
  bool backward(cpu::Workers& workers) {
    return cpu::rms_norm_backward<Element>(
        workers, rows.view(), of(dy), of(x), {weight.data(), 1, columns}, {inverse.data(), rows.rows(), 1}, of(dx),
        GradientParts<Element>{weight_gradient.data(), 1, columns, rows.parts, columns});
  }
  moepar::Matrix<Element> of(Values<Element>& values) { return {values.data(), rows.rows(), columns}; }

  //! All results one after the other.
  Values<Element> run(cpu::Workers& workers) {
    CHECK(forward(workers));
    CHECK(backward(workers));
    Values<Element> all = y;
    for (const auto* part : {&inverse, &dx, &weight_gradient}) all.insert(all.end(), part->begin(), part->end());
    return all;
  }

  Granules rows;
  Index columns;
  Values<Element> x, weight, dy, y, inverse, dx, weight_gradient;
};

//! The definition, one element after the other.
Values<float> expected_results(const Norm<float>& norm) {
  Values<float> y, inverses, dx, gradient;
  const Index columns = norm.columns;
  const auto h = static_cast<float>(columns);
  for (Index t = 0; t < norm.rows.rows(); ++t) {
    const float* x = norm.x.data() + t * columns;
    const float* dy = norm.dy.data() + t * columns;
    const std::span<const float> row{x, size_of(columns)};
    const float inverse = 1.0f / std::sqrt(moepar::row_dot(row, row) / h + static_cast<float>(epsilon));
    inverses.push_back(inverse);
    Values<float> normed, outer;
    for (Index i = 0; i < columns; ++i) {
      normed.push_back(x[i] * inverse);
      outer.push_back(dy[i] * norm.weight[size_of(i)]);
      y.push_back(normed.back() * norm.weight[size_of(i)]);
    }
    const float d = moepar::row_dot(std::span{outer}, std::span{normed}) / h;
    for (std::size_t i = 0; i < normed.size(); ++i) dx.push_back(inverse * std::fma(-normed[i], d, outer[i]));
  }
  gradient.resize(size_of(norm.rows.parts * columns));
  for (Index i = 0; i < columns; ++i) {
    Values<float> stack;
    for (std::size_t granule = 0; granule < norm.rows.merges.size(); ++granule) {
      float sum = 0;
      for (Index t = norm.rows.begins[granule]; t < norm.rows.begins[granule + 1]; ++t)
        sum = std::fma(norm.dy[size_of(t * columns + i)], norm.x[size_of(t * columns + i)] * inverses[size_of(t)], sum);
      for (int merge = 0; merge < norm.rows.merges[granule]; ++merge) {
        sum = stack.back() + sum;
        stack.pop_back();
      }
      stack.push_back(sum);
    }
    REQUIRE(static_cast<Index>(stack.size()) == norm.rows.parts);
    for (std::size_t part = 0; part < stack.size(); ++part)
      gradient[part * size_of(columns) + size_of(i)] = stack[part];
  }
  Values<float> all = y;
  for (const auto* part : {&inverses, &dx, &gradient}) all.insert(all.end(), part->begin(), part->end());
  return all;
}

}  // namespace

TEST_CASE("rms_norm: the definition's bits on every machine, odd widths, empty and uneven granules") {
  for (const Index columns : {1, 5, 63, 64, 65, 130, 200}) {
    Norm<float> norm{Granules{{3, 0, 1, 17, 2, 5}}, columns};
    check_everywhere(expected_results(norm), [&](cpu::Workers& workers) { return norm.run(workers); });
  }
  Norm<float> large{Granules{{40, 41, 50}}, 700};
  check_everywhere(expected_results(large), [&](cpu::Workers& workers) { return large.run(workers); });
  Norm<float> parts{Granules{{2, 3, 1, 4, 2}, moepar::GranuleTree{8}, {1, 6}}, 70};
  CHECK(parts.rows.parts == 3);
  check_everywhere(expected_results(parts), [&](cpu::Workers& workers) { return parts.run(workers); });
}

TEST_CASE("rms_norm: gradients agree with central differences, also without rows") {
  for (const auto& lengths : {std::vector<Index>{0}, std::vector<Index>{1}, std::vector<Index>{2, 0, 3}}) {
    Norm<double> norm{Granules{lengths}, 67};
    norm.run(one_worker());
    const auto objective = [&] {
      norm.forward(one_worker());
      return dot(norm.y, norm.dy);
    };
    check_gradient(norm.x, norm.dx, objective);
    check_gradient(norm.weight, norm.weight_gradient, objective);
  }
}

TEST_CASE("rms_norm says when a mean of squares or a gradient's dot is not finite") {
  Norm<float> norm{Granules{{300}}, 100};
  cpu::Workers workers{3};
  CHECK(norm.run(workers).size() == 300 * 100 * 2 + 300 + 100);
  norm.dy[12345] = std::numeric_limits<float>::infinity();
  CHECK(!norm.backward(workers));
  norm.x[29999] = 1e20f;
  CHECK(!norm.forward(workers));
  norm.x[29999] = std::numeric_limits<float>::quiet_NaN();
  CHECK(!norm.forward(workers));
}

TEST_CASE("rms_norm: subnormal rows survive, and y may be x") {
  Norm<float> norm{Granules{{200}}, 100};
  for (float& x : norm.x) x *= 0x1p-130f;
  const Values<float> expected = expected_results(norm);
  CHECK(expected[0] != 0.0f);
  check_everywhere(expected, [&](cpu::Workers& workers) { return norm.run(workers); });
  Values<float> x = norm.x;
  cpu::rms_norm<float>(one_worker(), norm.of(x), {norm.weight.data(), 1, 100}, static_cast<float>(epsilon), norm.of(x),
                       {norm.inverse.data(), 200, 1});
  CHECK(same_bits(x, norm.y));
}
