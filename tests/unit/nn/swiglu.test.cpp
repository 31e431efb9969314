// SPDX-License-Identifier: Apache-2.0
// One module runs on a rank that counts and on one that computes; its gradients against central differences in 64 bits.
#include <doctest/doctest.h>

#include <cmath>
#include <moepar/moe.hpp>
#include <vector>

namespace mp = moepar;
using mp::Index;

namespace swiglu {
namespace {

constexpr Index hidden = 5, intermediate = 7;
using Module = mp::SwiGlu<hidden, intermediate>;

constexpr mp::RandomKey key = mp::random_key(7, "swiglu");

double uniform(Index index) { return mp::uniform(mp::random_word(key, 0, index)) - 0.5; }

template <class Element> struct Pass {
  explicit Pass(Index rows)
      : rank{module_, shape(rows), mp::cost_of_pass<Module, Element>(rows).arenas},
        input(static_cast<std::size_t>(rows * hidden)),
        output(input.size()),
        output_gradient(input.size()),
        input_gradient(input.size()),
        rows_{rows} {
    Index next = 0;
    for (auto& value : input) value = static_cast<Element>(2 * uniform(next++));
    for (auto& value : output_gradient) value = static_cast<Element>(uniform(next++));
    mp::for_each_parameter(module_, [&](const mp::Site&, const mp::Parameter& parameter) {
      for (Element& value : rank.kept(parameter)) value = static_cast<Element>(uniform(next++));
    });
  }

  void forward() {
    rank.arena().release(0);
    module_.forward(rank, view(input), matrix(output), record);
  }
  void backward() {
    rank.with_gradients(module_,
                        [&] { module_.backward(rank, view(output_gradient), matrix(input_gradient), record); });
  }
  static mp::StepShape shape(Index rows) { return {.sequences = 1, .length = rows}; }

  // The scalar whose gradient backward computes.
  double objective() {
    forward();
    double sum = 0;
    for (std::size_t i = 0; i < output.size(); ++i) sum += double{output[i]} * double{output_gradient[i]};
    return sum;
  }

  mp::Matrix<Element> matrix(std::vector<Element>& values) { return {values.data(), rows_, hidden}; }
  mp::Matrix<const Element> view(std::vector<Element>& values) { return matrix(values); }

  Module module_{};
  mp::SingleRank<Element> rank;
  std::vector<Element> input, output, output_gradient, input_gradient;
  Module::Record<Element> record{};
  Index rows_;
};

double slope(Pass<double>& pass, double& value) {
  const double step = 1e-5, kept = value;
  value = kept + step;
  const double above = pass.objective();
  value = kept - step;
  const double below = pass.objective();
  value = kept;
  return (above - below) / (2 * step);
}

}  // namespace

TEST_CASE("SwiGlu: gradients agree with central differences") {
  for (const Index rows : {0, 1, 3}) {
    CAPTURE(rows);
    Pass<double> pass{rows};
    pass.forward();
    pass.backward();
    for (std::size_t i = 0; i < pass.input.size(); ++i)
      CHECK(pass.input_gradient[i] == doctest::Approx(slope(pass, pass.input[i])).epsilon(1e-7));
    mp::for_each_parameter(pass.module_, [&](const mp::Site&, const mp::Parameter& parameter) {
      const auto values = pass.rank.kept(parameter);
      const auto gradient = pass.rank.kept_gradient(parameter);
      for (std::size_t i = 0; i < values.size(); ++i)
        CHECK(gradient[i] == doctest::Approx(slope(pass, values[i])).epsilon(1e-7));
    });
  }
}

TEST_CASE("SwiGlu: the formula in 64 bits") {
  Pass<float> pass{3};
  pass.forward();
  const auto w1 = pass.rank.weights(pass.module_.gate), w2 = pass.rank.weights(pass.module_.down),
             w3 = pass.rank.weights(pass.module_.up);
  for (Index t = 0; t < 3; ++t)
    for (Index o = 0; o < hidden; ++o) {
      double expected = 0;
      for (Index m = 0; m < intermediate; ++m) {
        double gate = 0, up = 0;
        for (Index h = 0; h < hidden; ++h) {
          const double x = double{pass.input[static_cast<std::size_t>(t * hidden + h)]};
          gate += x * double{w1.row(m)[h]};
          up += x * double{w3.row(m)[h]};
        }
        expected += gate / (1 + std::exp(-gate)) * up * double{w2.row(o)[m]};
      }
      CHECK(double{pass.output[static_cast<std::size_t>(t * hidden + o)]} == doctest::Approx(expected).epsilon(1e-5));
    }
}

TEST_CASE("the plan of a pass is the pass: arena high-water mark, byte for byte") {
  static_assert(mp::cost_of_pass<Module>(3).flops == 2 * 3 * (3 * hidden * intermediate) * 3);  // forward, dgrad, wgrad
  for (const Index rows : {0, 1, 2, 3, 17, 64}) {
    CAPTURE(rows);
    Pass<float> pass{rows};
    pass.forward();
    pass.backward();
    CHECK(mp::high_water(pass.rank) == mp::cost_of_pass<Module>(rows).arenas);
  }
  SUBCASE("an arena that is too small says so") {
    Module module_{};
    mp::SingleRank<float> rank{module_, {.sequences = 1, .length = 5}, {.activations = 64}};
    std::vector<float> rows(5 * hidden);
    Module::Record<float> record{};
    CHECK_THROWS_WITH_AS((module_.forward(rank, mp::Matrix<const float>{rows.data(), 5, hidden},
                                          mp::Matrix<float>{rows.data(), 5, hidden}, record)),
                         "moepar::Arena: no room for 5 x 7 elements: the step needs 140 bytes, the arena has 64. "
                         "Fix: give the arena what the plan of this batch says.",
                         mp::Error);
  }
}

TEST_CASE("a rank refuses a parameter that it does not hold") {
  Module bound{};
  mp::SingleRank<float> rank{bound, {}, {}};
  const mp::Parameter stranger{.rows = 2, .columns = 2};
  CHECK_THROWS_AS((void)rank.weights(stranger), mp::Error);
}

}  // namespace swiglu
