// SPDX-License-Identifier: Apache-2.0
// Rows by index: gather, combine, sums and dots.
#include "kernel_test.hpp"
//
#include <moepar/core/row_sum.hpp>
#include <moepar/kernels/cpu/rows.hpp>
#include <span>

using namespace kernel_test;

namespace {

std::vector<Index> places(Index count, Index rows) {
  std::vector<Index> place;
  for (Index i = 0; i < count; ++i) place.push_back(i % 5 == 3 ? -1 : i * 7 % rows);
  return place;
}

}  // namespace

TEST_CASE("gather_rows and scale_gather_rows") {
  for (const Index columns : {1, 63, 129, 700}) {
    const Index rows = 90;
    const std::vector<Index> place = places(rows, 11);
    const Values<float> from = numbers<float>(11 * columns, "from"), weight = numbers<float>(rows, "weight");
    Values<float> plain, scaled;
    for (std::size_t i = 0; i < place.size(); ++i)
      for (Index c = 0; c < columns; ++c) {
        plain.push_back(place[i] < 0 ? 0.0f : from[size_of(place[i] * columns + c)]);
        scaled.push_back(place[i] < 0 ? 0.0f : weight[i] * from[size_of(place[i] * columns + c)]);
      }
    check_everywhere(plain, [&](cpu::Workers& workers) {
      Values<float> out(plain.size(), 7.0f);
      cpu::gather_rows<float>(workers, matrix(from, 11), place, matrix(out, rows));
      return out;
    });
    check_everywhere(scaled, [&](cpu::Workers& workers) {
      Values<float> out(plain.size(), 7.0f);
      cpu::scale_gather_rows<float>(workers, matrix(from, 11), place, weight, matrix(out, rows));
      return out;
    });
  }
}

TEST_CASE("combine_rows and sum_rows: slots ascending, absent slots left out") {
  const Index tokens = 90, slots = 3;
  for (const Index columns : {1, 63, 129, 700}) {
    const std::vector<Index> place = places(tokens * slots, 17);
    const Values<float> from = numbers<float>(17 * columns, "from"), weight = numbers<float>(tokens * slots, "weight");
    const Values<float> start = numbers<float>(tokens * columns, "start");
    Values<float> combined, sums, onto;
    for (Index t = 0; t < tokens; ++t)
      for (Index c = 0; c < columns; ++c) {
        float y = 0, sum = 0, above = start[size_of(t * columns + c)];
        for (Index k = t * slots; k < (t + 1) * slots; ++k) {
          if (place[size_of(k)] < 0) continue;
          const float value = from[size_of(place[size_of(k)] * columns + c)];
          y = std::fma(weight[size_of(k)], value, y);
          sum += value;
          above += value;
        }
        combined.push_back(y);
        sums.push_back(sum);
        onto.push_back(above);
      }
    const auto run = [&](const Values<float>& expected, const auto& kernel) {
      check_everywhere(expected, [&](cpu::Workers& workers) {
        Values<float> out = start;
        kernel(workers, matrix(out, tokens));
        return out;
      });
    };
    const auto source = matrix(from, 17);
    run(combined, [&](auto& w, auto out) { cpu::combine_rows<float>(w, source, place, weight, slots, out); });
    run(sums, [&](auto& w, auto out) { cpu::sum_rows<float>(w, source, place, slots, out); });
    run(onto, [&](auto& w, auto out) { cpu::sum_rows<float>(w, source, place, slots, out, true); });
  }
}

TEST_CASE("row_dots: 64 lanes, rows by index or in order, subnormal products kept") {
  for (const Index columns : {1, 64, 129, 1000}) {
    const Index rows = 60;
    Values<float> a = numbers<float>(rows * columns, "a"), b = numbers<float>(9 * columns, "b");
    for (Index c = 0; c < columns; ++c) a[size_of(c)] *= 0x1p-140f;
    const std::vector<Index> place = places(rows, 9);
    Values<float> expected;
    for (Index i = 0; i < rows; ++i) {
      const Index row = place[size_of(i)];
      const std::span<const float> left{a.data() + i * columns, size_of(columns)};
      expected.push_back(
          row < 0 ? 0.0f : moepar::row_dot(left, std::span<const float>{b.data() + row * columns, size_of(columns)}));
    }
    check_everywhere(expected, [&](cpu::Workers& workers) {
      Values<float> out(size_of(rows), 7.0f);
      cpu::row_dots<float>(workers, matrix(a, rows), {}, matrix(b, 9), place, out);
      return out;
    });
    Values<float> swapped(size_of(rows));
    cpu::row_dots<float>(one_worker(), matrix(b, 9), place, matrix(a, rows), {}, swapped);
    CHECK(same_bits(swapped, expected));
  }
}
