// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/random.hpp>
#include <moepar/kernels/cpu/instruction_set.hpp>
#include <moepar/kernels/cpu/workers.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/tensor/row_groups.hpp>
#include <vector>

// What the tests of the kernels share.
namespace kernel_test {

using moepar::Index;
namespace cpu = moepar::cpu;

template <class Element> using Values = std::vector<Element>;

inline std::size_t size_of(Index count) { return static_cast<std::size_t>(count); }

//! Numbers in [-1, 1), the same for every type up to rounding.
template <class Element> Values<Element> numbers(Index count, const char* name) {
  Values<Element> values;
  const moepar::RandomKey key = moepar::random_key(11, name);
  for (Index i = 0; i < count; ++i)
    values.push_back(static_cast<Element>(2 * moepar::uniform(moepar::random_word(key, 0, i)) - 1));
  return values;
}

template <class Element> moepar::Matrix<Element> matrix(Values<Element>& values, Index rows) {
  return {values.data(), rows, rows == 0 ? 0 : static_cast<Index>(values.size()) / rows};
}
template <class Element> moepar::Matrix<const Element> matrix(const Values<Element>& values, Index rows) {
  return {values.data(), rows, rows == 0 ? 0 : static_cast<Index>(values.size()) / rows};
}

//! Equal bits; any NaN equals any NaN.
template <class Element> bool same_bits(const Values<Element>& a, const Values<Element>& b) {
  if (a.size() != b.size()) return false;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (std::isnan(a[i]) && std::isnan(b[i])) continue;
    if (a[i] != b[i] || std::signbit(a[i]) != std::signbit(b[i])) return false;
  }
  return true;
}

//! Calls body(workers) with every instruction set of this machine and 1, 2, 3 and 7 workers.
template <class Body> void on_every_machine(const Body& body) {
  const cpu::InstructionSet before = cpu::instruction_set();
  static cpu::Workers one{1}, two{2}, three{3}, seven{7};
  for (const auto set : {cpu::InstructionSet::portable, cpu::InstructionSet::avx2, cpu::InstructionSet::avx512}) {
    if (set > cpu::detected_instruction_set()) continue;
    cpu::use_instruction_set(set);
    for (cpu::Workers* workers : {&one, &two, &three, &seven}) {
      CAPTURE(cpu::name_of(set));
      CAPTURE(workers->count());
      body(*workers);
    }
  }
  cpu::use_instruction_set(before);
}

//! Checks that run(workers), which returns values, has the bits of `expected` everywhere.
template <class Element, class Run> void check_everywhere(const Values<Element>& expected, const Run& run) {
  on_every_machine([&](cpu::Workers& workers) { CHECK(same_bits(run(workers), expected)); });
}

//! Rows cut into granules of these lengths, with the merges of the default tree over all of them; of `range`, if the
//! caller holds only some granules.
struct Granules {
  explicit Granules(const std::vector<Index>& lengths)
      : Granules{lengths,
                 moepar::GranuleTree{static_cast<Index>(lengths.size())},
                 {0, static_cast<Index>(lengths.size())}} {}
  Granules(const std::vector<Index>& lengths, const moepar::GranuleTree& tree, moepar::GranuleRange range)
      : merges(lengths.size()) {
    for (const Index length : lengths) begins.push_back(begins.back() + length);
    tree.merge_table(range, merges);
    parts = moepar::cover_size(tree, range);
  }
  [[nodiscard]] moepar::RowGroups view() const {
    return {1, static_cast<Index>(merges.size()), parts, begins.data(), merges.data()};
  }
  [[nodiscard]] Index rows() const { return begins.back(); }

  std::vector<Index> begins{0};
  std::vector<std::uint8_t> merges;
  Index parts = 1;
};

//! (objective(value + step) - objective(value - step)) / (2 step)
template <class Objective> double slope(double& value, const Objective& objective, double step = 1e-5) {
  const double kept = value;
  value = kept + step;
  const double above = objective();
  value = kept - step;
  const double below = objective();
  value = kept;
  return (above - below) / (2 * step);
}

//! Sum of a[i] b[i].
inline double dot(const Values<double>& a, const Values<double>& b) {
  double sum = 0;
  for (std::size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

//! A gradient against central differences of `objective` in every element of `values`, or in one out of `stride`.
template <class Objective>
void check_gradient(Values<double>& values, const Values<double>& gradient, const Objective& objective,
                    std::size_t stride = 1) {
  REQUIRE(values.size() == gradient.size());
  double worst = 0;
  for (std::size_t i = 0; i < values.size(); i += stride)
    worst = std::max(worst, std::fabs(gradient[i] - slope(values[i], objective)));
  CHECK(worst < 2e-9);
}

inline cpu::Workers& one_worker() {
  static cpu::Workers workers{1};
  return workers;
}

}  // namespace kernel_test
