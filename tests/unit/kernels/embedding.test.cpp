// SPDX-License-Identifier: Apache-2.0
#include "kernel_test.hpp"
//
#include <moepar/core/part_stack.hpp>
#include <moepar/kernels/cpu/embedding.hpp>
#include <span>

using namespace kernel_test;
using moepar::GradientParts;
using moepar::GranuleRange;
using moepar::GranuleTree;

namespace {

template <class Element>
Values<Element> gradient_of(cpu::Workers& workers, const Granules& rows, const std::vector<std::int32_t>& ids,
                            const Values<Element>& dy, Index vocabulary, Index columns) {
  Values<Element> gradient(size_of(rows.parts * vocabulary * columns), Element{7});
  std::vector<Index> scratch(size_of(vocabulary + 1) + ids.size(), 99);
  cpu::embedding_gradient<Element>(
      workers, rows.view(), ids, {dy.data(), rows.rows(), columns},
      GradientParts<Element>{gradient.data(), vocabulary, columns, rows.parts, vocabulary * columns}, scratch);
  return gradient;
}

//! Every granule pushed, zeros too.
Values<float> dense_gradient(const Granules& rows, const GranuleTree& tree, GranuleRange range,
                             const std::vector<std::int32_t>& ids, const Values<float>& dy, Index vocabulary,
                             Index columns) {
  Values<float> gradient(size_of(rows.parts * vocabulary * columns));
  for (Index id = 0; id < vocabulary; ++id)
    for (Index c = 0; c < columns; ++c) {
      moepar::PartStack<float> stack{tree};
      for (Index granule = range.first; granule < range.last; ++granule) {
        float sum = 0;
        const std::size_t local = size_of(granule - range.first);
        for (Index t = rows.begins[local]; t < rows.begins[local + 1]; ++t)
          if (ids[size_of(t)] == id) sum += dy[size_of(t * columns + c)];
        stack.push({granule, granule + 1}, sum);
      }
      REQUIRE(static_cast<Index>(stack.parts().size()) == rows.parts);
      for (Index part = 0; part < rows.parts; ++part)
        gradient[size_of((part * vocabulary + id) * columns + c)] = stack.parts()[size_of(part)].value;
    }
  return gradient;
}

}  // namespace

TEST_CASE("embed copies the rows of the ids") {
  for (const Index columns : {1, 65, 400}) {
    const Values<float> weight = numbers<float>(13 * columns, "weight");
    std::vector<std::int32_t> ids;
    for (int t = 0; t < 100; ++t) ids.push_back(t * 5 % 13);
    Values<float> expected;
    for (const std::int32_t id : ids)
      expected.insert(expected.end(), weight.begin() + id * columns, weight.begin() + (id + 1) * columns);
    check_everywhere(expected, [&](cpu::Workers& workers) {
      Values<float> out(expected.size(), 7.0f);
      cpu::embed<float>(workers, ids, matrix(weight, 13), matrix(out, 100));
      return out;
    });
  }
}

TEST_CASE("embedding_gradient: present granules alone give the bits of all granules, for any range of the tree") {
  const GranuleTree tree{12};
  const std::vector<Index> lengths{5, 0, 1, 9, 4, 4, 7, 2, 0, 3, 6, 8};
  for (const GranuleRange range : {GranuleRange{0, 12}, {1, 2}, {1, 11}, {3, 9}, {6, 12}, {5, 8}}) {
    const Granules rows{{lengths.begin() + range.first, lengths.begin() + range.last}, tree, range};
    for (const Index columns : {1, 70}) {
      const Index vocabulary = 9;
      std::vector<std::int32_t> ids;
      for (Index t = 0; t < rows.rows(); ++t) ids.push_back(static_cast<std::int32_t>(t * t % 7));
      const Values<float> dy = numbers<float>(rows.rows() * columns, "dy");
      check_everywhere(dense_gradient(rows, tree, range, ids, dy, vocabulary, columns),
                       [&](cpu::Workers& workers) { return gradient_of(workers, rows, ids, dy, vocabulary, columns); });
    }
  }
}

TEST_CASE("embedding_gradient: a batch of one repeated token; more columns than a block; subnormals") {
  const Granules rows{{11, 30, 1}};
  const Index columns = 1100;
  const std::vector<std::int32_t> ids(42, 2);
  Values<float> dy = numbers<float>(42 * columns, "dy");
  for (Index t = 0; t < 42; ++t) dy[size_of(t * columns)] *= 0x1p-140f;
  const Values<float> expected = dense_gradient(rows, GranuleTree{3}, {0, 3}, ids, dy, 3, columns);
  CHECK(expected[size_of(2 * columns)] != 0.0f);
  check_everywhere(expected, [&](cpu::Workers& workers) { return gradient_of(workers, rows, ids, dy, 3, columns); });
}

TEST_CASE("embedding: gradients agree with central differences, also without rows") {
  for (const auto& lengths : {std::vector<Index>{0}, std::vector<Index>{1}, std::vector<Index>{2, 0, 4}}) {
    const Granules rows{lengths};
    const Index columns = 5;
    std::vector<std::int32_t> ids;
    for (Index t = 0; t < rows.rows(); ++t) ids.push_back(static_cast<std::int32_t>(t * t % 3));
    const Values<double> dy = numbers<double>(rows.rows() * columns, "dy");
    Values<double> weight = numbers<double>(4 * columns, "weight"), out(dy.size());
    check_gradient(weight, gradient_of(one_worker(), rows, ids, dy, 4, columns), [&] {
      cpu::embed<double>(one_worker(), ids, matrix(weight, 4), {out.data(), rows.rows(), columns});
      return dot(out, dy);
    });
  }
}
