// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"
//
#include <moepar/kernels/cpu/rotary.hpp>

using namespace kernel_test;

namespace {

struct Table {
  Table(Index positions, Index size) : cosines(size_of(positions * size / 2)), sines(cosines.size()) {
    cpu::rotary_table(positions, size, 10000.0, matrix(cosines, positions), matrix(sines, positions));
    cosine = matrix(cosines, positions);
    sine = matrix(sines, positions);
  }
  Values<float> cosines, sines;
  moepar::Matrix<const float> cosine, sine;
};

}  // namespace

TEST_CASE("rotary_table: cos and sin of position * theta^(-2i / D)") {
  const Table table{300, 12};
  for (Index position = 0; position < 300; ++position)
    for (Index i = 0; i < 6; ++i) {
      const double angle = static_cast<double>(position) * std::pow(10000.0, -2.0 * static_cast<double>(i) / 12);
      CHECK(std::fabs(double{table.cosine.row(position)[i]} - std::cos(angle)) < 3e-5);
      CHECK(std::fabs(double{table.sine.row(position)[i]} - std::sin(angle)) < 3e-5);
    }
  CHECK(table.cosine.row(0)[3] == 1.0f);
  CHECK(table.sine.row(0)[3] == 0.0f);
}

TEST_CASE("rotate: halves, by the position in the row's own sequence, on every machine") {
  const Granules sequences{{3, 0, 1, 7, 250}};
  const Index rows = sequences.rows();
  for (const Index size : {2, 6, 32, 64, 66, 128, 134}) {
    const Index heads = size > 32 ? 1 : 3;
    const Table table{250, size};
    const Values<float> x = numbers<float>(rows * heads * size, "x");
    for (const bool inverse : {false, true}) {
      Values<float> expected = x;
      for (std::size_t granule = 0; granule < 5; ++granule)
        for (Index t = sequences.begins[granule]; t < sequences.begins[granule + 1]; ++t)
          for (Index head = 0; head < heads; ++head)
            for (Index i = 0; i < size / 2; ++i) {
              const Index position = t - sequences.begins[granule], first = (t * heads + head) * size + i;
              const float a = x[size_of(first)], b = x[size_of(first + size / 2)];
              const float c = table.cosine.row(position)[i], s = table.sine.row(position)[i] * (inverse ? -1.0f : 1.0f);
              expected[size_of(first)] = std::fma(a, c, -(b * s));
              expected[size_of(first + size / 2)] = std::fma(b, c, a * s);
            }
      check_everywhere(expected, [&](cpu::Workers& workers) {
        Values<float> turned = x;
        cpu::rotate<float>(workers, sequences.view(), matrix(turned, rows), size, table.cosine, table.sine, inverse);
        return turned;
      });
    }
  }
}

TEST_CASE("rotate: turning back undoes it and is its gradient; no rows are no trouble") {
  const Granules sequences{{0, 4, 1}};
  const Table table{4, 10};
  Values<double> x = numbers<double>(5 * 20, "x"), outer = numbers<double>(5 * 20, "outer"), turned;
  const auto turn = [&](Values<double> values, bool inverse) {
    cpu::rotate<double>(one_worker(), sequences.view(), matrix(values, 5), 10, table.cosine, table.sine, inverse);
    return values;
  };
  const Values<double> back = turn(turn(x, false), true);
  for (std::size_t i = 0; i < x.size(); ++i) CHECK(back[i] == doctest::Approx(x[i]).epsilon(1e-6));
  check_gradient(x, turn(outer, true), [&] { return dot(turn(x, false), outer); });
  const Granules none{{0}};
  cpu::rotate<double>(one_worker(), none.view(), {nullptr, 0, 20}, 10, table.cosine, table.sine, false);
}
