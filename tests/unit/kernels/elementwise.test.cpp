// SPDX-License-Identifier: Apache-2.0
// Sums, fills and SwiGLU: one operation an element, whatever the length, the alignment and the machine.
#include "kernel_test.hpp"
//
#include <moepar/kernels/cpu/elementary.hpp>
#include <moepar/kernels/cpu/elementwise.hpp>
#include <moepar/kernels/cpu/swiglu.hpp>

using namespace kernel_test;
using moepar::Matrix;

namespace {

Matrix<float> at(Values<float>& values, Index offset, Index count) { return {values.data() + offset, 1, count}; }

}  // namespace

TEST_CASE("exp_of has the bits of exp32") {
  for (std::uint64_t word = 0; word < (std::uint64_t{1} << 32); word += 9973) {
    const float x = std::bit_cast<float>(static_cast<std::uint32_t>(word));
    const float a = cpu::detail::exp_of(x), b = moepar::exp32(x);
    if (!std::isnan(a) || !std::isnan(b)) REQUIRE(std::bit_cast<std::uint32_t>(a) == std::bit_cast<std::uint32_t>(b));
  }
}

TEST_CASE("elementwise kernels: every length and offset, in place or not") {
  const Values<float> left = numbers<float>(160, "left"), right = numbers<float>(160, "right");
  on_every_machine([&](cpu::Workers& workers) {
    for (Index count = 0; count < 130; ++count) {
      const Index offset = count % 16;
      Values<float> a = left, b = right, sum(160, 7.0f), product(160, 7.0f), filled(160, 7.0f);
      cpu::add<float>(workers, at(a, offset, count), at(b, 3, count), at(sum, 1, count));
      cpu::swiglu<float>(workers, at(a, offset, count), at(b, 3, count), at(product, 1, count));
      cpu::fill<float>(workers, at(filled, 1, count), 2.5f);
      for (Index i = 0; i < 160; ++i) {
        const bool inside = i >= 1 && i <= count;
        const float x = inside ? left[size_of(offset + i - 1)] : 0, y = inside ? right[size_of(3 + i - 1)] : 0;
        REQUIRE(sum[size_of(i)] == (inside ? x + y : 7.0f));
        REQUIRE(product[size_of(i)] == (inside ? x * moepar::sigmoid(x) * y : 7.0f));
        REQUIRE(filled[size_of(i)] == (inside ? 2.5f : 7.0f));
      }
      Values<float> onto_left = left, onto_right = right;
      cpu::add<float>(workers, at(onto_left, offset, count), at(b, 3, count), at(onto_left, offset, count));
      cpu::add<float>(workers, at(a, offset, count), at(onto_right, 3, count), at(onto_right, 3, count));
      for (Index i = 0; i < count; ++i) REQUIRE(onto_left[size_of(offset + i)] == sum[size_of(i + 1)]);
      for (Index i = 0; i < count; ++i) REQUIRE(onto_right[size_of(3 + i)] == sum[size_of(i + 1)]);
    }
  });
}

TEST_CASE("swiglu_backward: every length, and outputs in the place of inputs") {
  const Values<float> gates = numbers<float>(129, "gate"), ups = numbers<float>(129, "up"),
                      outers = numbers<float>(129, "outer");
  on_every_machine([&](cpu::Workers& workers) {
    for (Index count = 0; count < 130; count += count < 70 ? 1 : 7) {
      Values<float> gate = gates, up = ups, outer = outers;
      cpu::swiglu_backward<float>(workers, at(gate, 0, count), at(up, 0, count), at(outer, 0, count),
                                  at(gate, 0, count), at(up, 0, count));
      for (std::size_t i = 0; i < size_of(count); ++i) {
        const float x = gates[i], s = moepar::sigmoid(x);
        REQUIRE(up[i] == outers[i] * (x * s));
        REQUIRE(gate[i] == outers[i] * ups[i] * (s * std::fma(x, 1 - s, 1.0f)));
      }
    }
  });
}

TEST_CASE("elementwise kernels: many items, and subnormals survive in every worker") {
  const Index count = 5 * 16384 + 77;
  Values<float> a(size_of(count), 0x1p-140f), b(size_of(count), 0x1p-130f), sum(size_of(count));
  check_everywhere(Values<float>(size_of(count), 0x1p-140f + 0x1p-130f), [&](cpu::Workers& workers) {
    std::fill(sum.begin(), sum.end(), 7.0f);
    cpu::add<float>(workers, matrix(a, 1), matrix(b, 1), matrix(sum, 1));
    return sum;
  });
  std::fill(a.begin(), a.end(), 0x1p-133f);
  std::fill(b.begin(), b.end(), 1.0f);
  check_everywhere(Values<float>(size_of(count), 0x1p-134f), [&](cpu::Workers& workers) {
    cpu::swiglu<float>(workers, matrix(a, 1), matrix(b, 1), matrix(sum, 1));
    return sum;
  });
}

TEST_CASE("swiglu: gradients agree with central differences") {
  Values<double> gate = numbers<double>(67, "gate"), up = numbers<double>(67, "up"),
                 outer = numbers<double>(67, "outer"), product(67), gate_gradient(67), up_gradient(67);
  const auto objective = [&] {
    cpu::swiglu<double>(one_worker(), matrix(gate, 1), matrix(up, 1), matrix(product, 1));
    return dot(product, outer);
  };
  cpu::swiglu_backward<double>(one_worker(), matrix(gate, 1), matrix(up, 1), matrix(outer, 1), matrix(gate_gradient, 1),
                               matrix(up_gradient, 1));
  check_gradient(gate, gate_gradient, objective);
  check_gradient(up, up_gradient, objective);
}
