// SPDX-License-Identifier: Apache-2.0
#include <moepar/core/granule_tree.hpp>
#include <moepar/kernels/cpu/gemm/products.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <type_traits>
#include <utility>
#include <vector>

namespace {

using moepar::GranuleRange;
using moepar::GranuleTree;
using moepar::Index;
using moepar::Matrix;
using moepar::RowGroups;
using moepar::cpu::InstructionSet;
using moepar::cpu::Workers;

std::size_t at(Index index) { return static_cast<std::size_t>(index); }

//! Row groups that own what they point to: rows of granule i of group g = counts[g * granules + i].
struct Groups {
  std::vector<Index> begins{0};
  std::vector<std::uint8_t> merges;
  RowGroups view;

  Groups(Index groups, const GranuleTree& tree, GranuleRange range, const std::vector<Index>& counts)
      : merges(at(range.count())) {
    for (const Index count : counts) begins.push_back(begins.back() + count);
    tree.merge_table(range, merges);
    view = {groups, range.count(), cover_size(tree, range), begins.data(), merges.data()};
  }
  //! One granule a group.
  explicit Groups(const std::vector<Index>& counts)
      : Groups(static_cast<Index>(counts.size()), GranuleTree{1}, {0, 1}, counts) {}
  Groups(const Groups&) = delete;
  Groups& operator=(const Groups&) = delete;
};

template <class Element> struct Values {
  std::vector<Element> data;
  Index rows, columns;

  Values(Index rows_, Index columns_, Element value = 0)
      : data(at(rows_ * columns_), value), rows{rows_}, columns{columns_} {}
  //! Values between -1 and 1 of all mantissas, so that another order of a sum shows.
  static Values random(Index rows, Index columns, std::uint64_t seed) {
    Values values{rows, columns};
    for (Element& value : values.data) {
      seed = seed * 6364136223846793005ULL + 1442695040888963407ULL;
      value = static_cast<Element>(static_cast<double>(seed >> 11) * 0x1p-52 - 1.0);
    }
    return values;
  }
  [[nodiscard]] Matrix<Element> view() { return {data.data(), rows, columns}; }
  [[nodiscard]] Element& operator()(Index row, Index column) { return data[at(row * columns + column)]; }
};

//! Equal bits; says where they are not.
template <class Element> void require_same(const std::vector<Element>& left, const std::vector<Element>& right) {
  using Bits = std::conditional_t<sizeof(Element) == 4, std::uint32_t, std::uint64_t>;
  REQUIRE(left.size() == right.size());
  std::size_t different = 0, first = 0;
  for (std::size_t i = left.size(); i-- > 0;) {
    if (std::bit_cast<Bits>(left[i]) == std::bit_cast<Bits>(right[i])) continue;
    ++different;
    first = i;
  }
  INFO("first at " << first);
  REQUIRE(different == 0);
}

// --- The law, written out ---

template <class Element>
void chain_multiply(const RowGroups& groups, Values<Element>& input, Values<Element>& weight, Values<Element>& output) {
  for (Index g = 0; g < groups.groups; ++g)
    for (Index t = groups.begin_of(g); t < groups.end_of(g); ++t)
      for (Index n = 0; n < output.columns; ++n) {
        Element sum = 0;
        for (Index k = 0; k < input.columns; ++k) sum = std::fma(input(t, k), weight(g * output.columns + n, k), sum);
        output(t, n) = sum;
      }
}

template <class Element>
void chain_multiply_transposed_onto(const RowGroups& groups, Values<Element>& output_gradient, Values<Element>& weight,
                                    Values<Element>& input_gradient) {
  for (Index g = 0; g < groups.groups; ++g)
    for (Index t = groups.begin_of(g); t < groups.end_of(g); ++t)
      for (Index n = 0; n < output_gradient.columns; ++n)
        for (Index k = 0; k < input_gradient.columns; ++k)
          input_gradient(t, k) =
              std::fma(output_gradient(t, n), weight(g * output_gradient.columns + n, k), input_gradient(t, k));
}

//! A granule without rows is absent: absent + x = x.
template <class Element>
void chain_weight_gradient(const RowGroups& groups, Values<Element>& output_gradient, Values<Element>& input,
                           Values<Element>& parts) {
  const Index outputs = output_gradient.columns, rows = groups.groups * outputs;
  for (Index g = 0; g < groups.groups; ++g)
    for (Index n = 0; n < outputs; ++n)
      for (Index k = 0; k < input.columns; ++k) {
        std::vector<std::optional<Element>> stack;
        for (Index i = 0; i < groups.granules; ++i) {
          std::optional<Element> sum;
          for (Index t = groups.begins[g * groups.granules + i]; t < groups.begins[g * groups.granules + i + 1]; ++t)
            sum = std::fma(output_gradient(t, n), input(t, k), sum.value_or(Element{0}));
          for (Index merge = 0; merge < groups.merges[i]; ++merge) {
            const std::optional<Element> before = stack.back();
            stack.pop_back();
            if (before && sum)
              sum = *before + *sum;
            else if (before)
              sum = before;
          }
          stack.push_back(sum);
        }
        REQUIRE(static_cast<Index>(stack.size()) == groups.parts);
        for (Index part = 0; part < groups.parts; ++part)
          parts(part * rows + g * outputs + n, k) = stack[at(part)].value_or(Element{0});
      }
}

// --- All three products of one problem, computed by the library; rows behind the groups hold NaN ---

template <class Element> struct Problem {
  static constexpr Index unused = 3;
  static constexpr Element nan = std::numeric_limits<Element>::quiet_NaN();
  const RowGroups& groups;
  Index outputs, columns;
  Values<Element> input, output_gradient, weight, before;

  Problem(const RowGroups& groups_, Index outputs_, Index columns_)
      : groups{groups_},
        outputs{outputs_},
        columns{columns_},
        input{Values<Element>::random(groups_.rows() + unused, columns_, 1)},
        output_gradient{Values<Element>::random(groups_.rows() + unused, outputs_, 2)},
        weight{Values<Element>::random(groups_.groups * outputs_, columns_, 3)},
        before{Values<Element>::random(groups_.rows() + unused, columns_, 4)} {
    for (Index t = groups.rows(); t < groups.rows() + unused; ++t) {
      for (Index k = 0; k < columns; ++k) input(t, k) = before(t, k) = nan;
      for (Index n = 0; n < outputs; ++n) output_gradient(t, n) = nan;
    }
  }

  struct Results {
    Values<Element> output, input_gradient, input_gradient_onto, parts;
  };
  //! Everything starts as NaN: what is not written stays so.
  [[nodiscard]] Results empty() const {
    return {Values<Element>{groups.rows() + unused, outputs, nan},
            Values<Element>{groups.rows() + unused, columns, nan}, before,
            Values<Element>{groups.parts * groups.groups * outputs, columns, nan}};
  }
  [[nodiscard]] Results expected() {
    Results results = empty();
    chain_multiply(groups, input, weight, results.output);
    std::fill_n(results.input_gradient.data.begin(), groups.rows() * columns, Element{0});
    chain_multiply_transposed_onto(groups, output_gradient, weight, results.input_gradient);
    chain_multiply_transposed_onto(groups, output_gradient, weight, results.input_gradient_onto);
    chain_weight_gradient(groups, output_gradient, input, results.parts);
    return results;
  }
  [[nodiscard]] Results computed(Workers& workers) {
    Results results = empty();
    moepar::cpu::multiply(workers, groups, input.view(), weight.view(), results.output.view());
    moepar::cpu::multiply_transposed(workers, groups, output_gradient.view(), weight.view(),
                                     results.input_gradient.view());
    moepar::cpu::multiply_transposed_onto(workers, groups, output_gradient.view(), weight.view(),
                                          results.input_gradient_onto.view());
    const Index rows = groups.groups * outputs;
    moepar::cpu::weight_gradient(
        workers, groups, output_gradient.view(), input.view(),
        moepar::GradientParts<Element>{results.parts.data.data(), rows, columns, groups.parts, rows * columns});
    return results;
  }
  void require(Workers& workers, Results& expected) {
    Results results = computed(workers);
    CAPTURE(outputs);
    CAPTURE(columns);
    CAPTURE(groups.rows());
    require_same(results.output.data, expected.output.data);
    require_same(results.input_gradient.data, expected.input_gradient.data);
    require_same(results.input_gradient_onto.data, expected.input_gradient_onto.data);
    require_same(results.parts.data, expected.parts.data);
  }
};

//! Calls body() with each instruction set that this machine has in use.
template <class Body> void with_each_instruction_set(const Body& body) {
  const InstructionSet before = moepar::cpu::instruction_set();
  for (const InstructionSet set : {InstructionSet::portable, InstructionSet::avx2, InstructionSet::avx512}) {
    if (set > moepar::cpu::detected_instruction_set()) continue;
    CAPTURE(std::string{moepar::cpu::name_of(set)});
    moepar::cpu::use_instruction_set(set);
    body();
  }
  moepar::cpu::use_instruction_set(before);
}

template <class Element> void require_law(const RowGroups& groups, Index outputs, Index columns) {
  static Workers workers;
  Problem<Element> problem{groups, outputs, columns};
  auto expected = problem.expected();
  with_each_instruction_set([&] { problem.require(workers, expected); });
}

}  // namespace

TEST_CASE("gemm: products of every size are the scalar chains, bit for bit") {
  const Index sizes[] = {1, 2, 15, 16, 17, 31, 32, 33, 48, 100, 256};
  const Index rows[] = {0, 1, 2, 5, 11, 12, 13, 40};
  Index i = 0;
  for (const Index outputs : sizes)
    for (const Index columns : sizes) {
      if (outputs * columns > 10000 && outputs != columns) continue;  // for the time
      const Groups groups{{rows[i % 8]}};
      require_law<float>(groups.view, outputs, columns);
      require_law<double>(groups.view, outputs, columns);
      i += 3;  // all of rows in turn
    }
}

TEST_CASE("gemm: sums longer than a block, of steps and of rows") {
  const Groups groups{{7, 530, 3}};
  require_law<float>(groups.view, 13, 20);
  require_law<double>(groups.view, 13, 20);
  const Groups few{{3, 2}};
  require_law<float>(few.view, 1100, 35);
  require_law<float>(few.view, 35, 1100);
  require_law<float>(few.view, 1030, 1);
}

TEST_CASE("gemm: groups, empty ones among them") {
  const std::vector<Index> counts[] = {{0}, {0, 0, 0}, {5, 0, 13}, {0, 40, 1}, {12, 11, 0}, {2, 2}};
  for (const std::vector<Index>& count : counts) {
    const Groups groups{count};
    require_law<float>(groups.view, 33, 17);
    require_law<float>(groups.view, 48, 100);
    require_law<double>(groups.view, 17, 33);
  }
}

TEST_CASE("gemm: the weight gradient adds granules as the tree says, in one to three parts") {
  struct Case {
    Index granules;
    GranuleRange range;
    Index parts;
  };
  const Case cases[] = {{1, {0, 1}, 1}, {2, {0, 2}, 1},   {3, {0, 3}, 1},  {6, {0, 6}, 1},  {7, {0, 7}, 1},
                        {8, {0, 8}, 1}, {12, {0, 12}, 1}, {8, {2, 6}, 2},  {8, {1, 4}, 2},  {8, {0, 7}, 3},
                        {8, {1, 7}, 4}, {12, {2, 9}, 3},  {12, {4, 6}, 2}, {16, {5, 12}, 3}};
  for (const Case& one : cases) {
    const GranuleTree tree{one.granules};
    REQUIRE(cover_size(tree, one.range) == one.parts);
    const Index granules = one.range.count();
    for (Index pattern = 0; pattern < 5; ++pattern) {
      std::vector<Index> counts;
      for (Index i = 0; i < 2 * granules; ++i) {
        const Index some[] = {5, i % 3, i % 2 * 4, i % 5 == 4 ? 100 : 31 * (i % 2), i == 1 ? 3 : 0};
        counts.push_back(some[pattern]);
      }
      const Groups groups{2, tree, one.range, counts};
      CAPTURE(one.granules);
      CAPTURE(pattern);
      require_law<float>(groups.view, 13, 33);
      if (pattern < 2) require_law<double>(groups.view, 5, 17);
    }
  }
}

TEST_CASE("gemm: granules that end where a block of rows ends") {
  const GranuleTree tree{8};
  const std::vector<Index> counts[] = {{256, 0, 0, 256, 0, 1, 0, 0},   {0, 128, 128, 0, 0, 255, 1, 3},
                                       {1, 1, 1, 252, 1, 0, 0, 300},   {100, 100, 100, 0, 100, 100, 100, 100},
                                       {255, 2, 254, 2, 3, 600, 0, 0}, {0, 0, 0, 0, 0, 0, 0, 256}};
  for (const std::vector<Index>& count : counts) {
    const Groups whole{1, tree, {0, 8}, count};
    require_law<float>(whole.view, 13, 35);
    const Groups cut{1, tree, {0, 7}, {count.begin(), count.end() - 1}};
    require_law<float>(cut.view, 13, 35);
  }
}

TEST_CASE("gemm: a stack so deep that blocks of the gradient get smaller") {
  constexpr Index granules = 105;  // as many sums as a tree can leave waiting
  std::vector<Index> begins{0};
  for (Index i = 0; i < granules; ++i) begins.push_back(begins.back() + (i % 10 == 9 ? 0 : 3 + i % 4));
  std::vector<std::uint8_t> merges(at(granules), 0);
  require_law<float>(RowGroups{1, granules, granules, begins.data(), merges.data()}, 50, 35);
  merges.back() = granules - 1;
  require_law<float>(RowGroups{1, granules, 1, begins.data(), merges.data()}, 50, 300);
  require_law<double>(RowGroups{1, granules, 1, begins.data(), merges.data()}, 7, 35);
}

TEST_CASE("gemm: a row's bits do not depend on the other rows of the call") {
  constexpr Index outputs = 45, columns = 70, most = 40;
  Workers workers;
  const Groups all{{most}};
  Problem<float> batch{all.view, outputs, columns};
  with_each_instruction_set([&] {
    auto whole = batch.computed(workers);
    for (Index rows = 1; rows < most; ++rows)
      for (const Index first : {Index{0}, most - rows}) {
        const Groups some{{rows}};
        Values<float> output{rows, outputs}, input_gradient{rows, columns};
        moepar::cpu::multiply(workers, some.view, Matrix<float>{&batch.input(first, 0), rows, columns},
                              batch.weight.view(), output.view());
        moepar::cpu::multiply_transposed(workers, some.view,
                                         Matrix<float>{&batch.output_gradient(first, 0), rows, outputs},
                                         batch.weight.view(), input_gradient.view());
        const auto slice = [&](const Values<float>& values) {
          const auto begin = values.data.begin() + first * values.columns;
          return std::vector<float>(begin, begin + rows * values.columns);
        };
        require_same(output.data, slice(whole.output));
        require_same(input_gradient.data, slice(whole.input_gradient));
      }
  });
}

TEST_CASE("gemm: any number of workers gives the same bits") {
  const GranuleTree tree{6};
  const Groups groups{3, tree, {0, 6}, {50, 0, 31, 7, 90, 1, 0, 0, 0, 0, 0, 0, 300, 2, 5, 0, 0, 13}};
  Problem<float> problem{groups.view, 100, 200};
  Workers alone;
  auto expected = problem.computed(alone);
  for (const Index count : {2, 3, 7}) {
    Workers workers{count};
    with_each_instruction_set([&] { problem.require(workers, expected); });  // slow ones give helpers time to join
  }
}

TEST_CASE("gemm: infinities, NaN and subnormals stay in their rows and columns") {
  const Groups groups{{3, 14}};
  Workers workers;
  Problem<float> problem{groups.view, 20, 37};
  problem.input(1, 5) = std::numeric_limits<float>::infinity();
  problem.output_gradient(4, 19) = Problem<float>::nan;
  problem.weight(25, 36) = -std::numeric_limits<float>::infinity();
  for (Index k = 0; k < 37; ++k) problem.input(7, k) *= 0x1p-140F;
  auto expected = problem.expected();
  const auto plain = [](std::vector<float>& values) {  // a NaN's sign and payload are free
    for (float& value : values)
      if (std::isnan(value)) value = Problem<float>::nan;
  };
  plain(expected.output.data);
  plain(expected.input_gradient.data);
  plain(expected.parts.data);
  with_each_instruction_set([&] {
    auto results = problem.computed(workers);
    plain(results.output.data);
    plain(results.input_gradient.data);
    plain(results.parts.data);
    require_same(results.output.data, expected.output.data);
    require_same(results.input_gradient.data, expected.input_gradient.data);
    require_same(results.parts.data, expected.parts.data);
  });
}
