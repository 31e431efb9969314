// SPDX-License-Identifier: Apache-2.0
// The optimizer's step and the squares of the gradient norm.
#include "kernel_test.hpp"
//
#include <moepar/kernels/cpu/adam_w.hpp>
#include <moepar/kernels/cpu/square_sum.hpp>
#include <span>

using namespace kernel_test;

namespace {

struct State {
  explicit State(Index count)
      : weights{numbers<float>(count, "weights")},
        first{numbers<float>(count, "first")},
        second{numbers<float>(count, "second")},
        gradient{numbers<float>(count, "gradient")} {
    for (float& value : second) value = value * value;
  }

  //! The elements [begin, begin + count).
  void step(cpu::Workers& workers, const cpu::AdamWStep& step, Index begin, Index count) {
    const auto run = [&](Values<float>& values) { return std::span{values}.subspan(size_of(begin), size_of(count)); };
    cpu::adam_w(workers, step, run(weights), run(first), run(second), run(gradient));
  }
  void reference_step(const cpu::AdamWStep& step, std::size_t i) {
    const volatile float g = (gradient[i] + 0.0f) * step.clip, new_g = step.rest1 * g, square = g * g;
    const volatile float new_square = step.rest2 * square;
    first[i] = std::fma(step.beta1, first[i], new_g);
    second[i] = std::fma(step.beta2, second[i], new_square);
    const volatile float corrected = second[i] * step.correction2, numerator = first[i] * step.correction1;
    const float update = numerator / (std::sqrt(corrected) + step.epsilon);
    weights[i] = std::fma(-step.learning_rate, std::fma(step.weight_decay, weights[i], update), weights[i]);
  }
  Values<float> all() const {
    Values<float> values = weights;
    for (const auto* part : {&first, &second}) values.insert(values.end(), part->begin(), part->end());
    return values;
  }

  Values<float> weights, first, second, gradient;
};

const cpu::AdamWStep step = cpu::adam_w_step(1e-3, 0.9, 0.95, 1e-8, 0.1, 0.7, 0.9 * 0.9, 0.95 * 0.95);

}  // namespace

TEST_CASE("adam_w_step rounds each number once") {
  CHECK(step.rest1 == static_cast<float>(1.0 - 0.9));
  CHECK(step.rest2 == static_cast<float>(1.0 - 0.95));
  CHECK(step.correction1 == static_cast<float>(1.0 / (1.0 - 0.9 * 0.9)));
  CHECK(step.correction2 == static_cast<float>(1.0 / (1.0 - 0.95 * 0.95)));
}

TEST_CASE("adam_w: any run of elements, at any offset, on every machine") {
  const State start{160};
  on_every_machine([&](cpu::Workers& workers) {
    for (Index count = 0; count < 130; ++count) {
      State expected = start, found = start;
      const Index begin = count % 16;
      for (Index i = begin; i < begin + count; ++i) expected.reference_step(step, size_of(i));
      found.step(workers, step, begin, count);
      REQUIRE(same_bits(found.all(), expected.all()));
    }
  });
}

TEST_CASE("adam_w: many items; subnormal, zero and negative zero gradients") {
  State start{3 * 16384 + 55};
  for (std::size_t i = 0; i < start.weights.size(); i += 3) {
    start.gradient[i] = i % 2 == 0 ? -0.0f : 0x1p-140f;
    start.first[i] = i % 4 == 0 ? 0.0f : 0x1p-135f;
    start.second[i] = i % 4 == 0 ? 0.0f : 0x1p-135f;
  }
  State expected = start;
  for (std::size_t i = 0; i < start.weights.size(); ++i) expected.reference_step(step, i);
  check_everywhere(expected.all(), [&](cpu::Workers& workers) {
    State found = start;
    found.step(workers, step, 0, static_cast<Index>(found.weights.size()));
    return found.all();
  });
}

TEST_CASE("adam_w: against the textbook in 64 bits") {
  State state{100};
  const State before = state;
  state.step(one_worker(), step, 0, 100);
  for (std::size_t i = 0; i < 100; ++i) {
    const double g = 0.7 * double{before.gradient[i]};
    const double m = 0.9 * double{before.first[i]} + 0.1 * g, v = 0.95 * double{before.second[i]} + 0.05 * g * g;
    const double update = m / (1 - 0.81) / (std::sqrt(v / (1 - 0.95 * 0.95)) + 1e-8);
    const double w = double{before.weights[i]} - 1e-3 * (0.1 * double{before.weights[i]} + update);
    CHECK(double{state.weights[i]} == doctest::Approx(w).epsilon(1e-6));
  }
}

TEST_CASE("block_square_sums: 64 lanes in 64 bits, block by block; any run of blocks gives the same") {
  for (const Index count : {0, 1, 63, 65, 1024, 1025, 20000, 70000}) {
    Values<float> values = numbers<float>(count, "values");
    for (std::size_t i = 0; i < values.size(); i += 7) values[i] *= 0x1p-140f;
    Values<double> expected;
    for (Index begin = 0; begin < count; begin += 1024) {
      double lane[64] = {};
      for (Index i = begin; i < std::min(count, begin + 1024); ++i) {
        const double value{values[size_of(i)]};
        lane[(i - begin) % 64] = std::fma(value, value, lane[(i - begin) % 64]);
      }
      for (int half = 32; half > 0; half /= 2)
        for (int i = 0; i < half; ++i) lane[i] += lane[i + half];
      expected.push_back(lane[0]);
      const std::size_t length = size_of(std::min(count - begin, Index{1024}));
      CHECK(cpu::square_sum(std::span<const float>{values}.subspan(size_of(begin), length)) == lane[0]);
    }
    check_everywhere(expected, [&](cpu::Workers& workers) {
      Values<double> sums(expected.size(), -1.0);
      cpu::block_square_sums(workers, values, sums);
      return sums;
    });
  }
}
