// SPDX-License-Identifier: Apache-2.0
// Tokens to experts and back, without a Moe around: with experts that change nothing and weights that add up to one,
// what comes back is what was sent, on any number of ranks, in one pass or several.
#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <moepar/moe.hpp>
#include <string>
#include <vector>

namespace mp = moepar;
using mp::Index;

namespace {

constexpr Index hidden = 5, experts = 8, sequences = 3, length = 6;

std::size_t size_of(Index count) { return static_cast<std::size_t>(count); }

//! An expert that passes rows on.
struct PassOn {
  static constexpr mp::ModuleFacts facts{.hidden = hidden};
  template <class Self, class Walker> static constexpr void members(Self&, Walker&) {}
  template <class Element> struct Record {
    Index rows = 0;
  };
  template <mp::compute_rank Rank, class Element = typename Rank::Element>
  void forward(Rank& rank, mp::ConstMatrix<Element> input, mp::Matrix<Element> output, Record<Element>& record) const {
    record.rows = rank.rows().rows();
    std::copy_n(input.data, record.rows * input.columns, output.data);
  }
  template <mp::compute_rank Rank, class Element = typename Rank::Element>
  void backward(Rank& rank, mp::ConstMatrix<Element> output_gradient, mp::Matrix<Element> input_gradient,
                const Record<Element>&) const {
    std::copy_n(output_gradient.data, rank.rows().rows() * hidden, input_gradient.data);
  }
};

float number(const char* what, Index row, Index column) {
  return static_cast<float>(mp::normal(mp::random_word(mp::random_key(21, what), 0, row * 64 + column)));
}

//! Rows of a rank and its experts.
struct Experiment {
  Index ranks = 1;
  Index receive_rows = 0;
  bool idle = false;       //!< every second rank has no tokens
  bool one_sided = false;  //!< all tokens want experts 4 and up
};

template <class Dispatcher, Index TopK, class Connection>
void send_and_return(Connection& connection, Experiment test) {
  using Spread = mp::ExpertParallel<mp::Experts<PassOn, experts>, 1, Dispatcher>;
  using Communicator = decltype(connection.communicator());
  const mp::Layout layout{.world = test.ranks, .expert = test.ranks};
  const Index me = connection.rank();
  mp::HostRank<float, Communicator> rank{layout,
                                         me,
                                         {.sequences = sequences, .length = length, .receive_rows = test.receive_rows},
                                         mp::Binding{.routers = {.layers = 1, .experts = experts}},
                                         {1 << 20, 64, 1 << 20, 64},
                                         mp::make_axes(connection, layout)};
  std::vector<Index> begins{0};
  for (Index i = 0; i < sequences; ++i)
    begins.push_back(begins.back() + (test.idle && me % 2 == 1 ? 0 : (me + 3 + 2 * i) % (length + 1)));
  const Index rows = begins.back(), room = sequences * length;
  rank.begin_micro_step(0, begins.data());

  const auto fill = [&](std::vector<float>& values, const char* what, Index columns) {
    values.assign(size_of(room * columns), 77);
    for (Index t = 0; t < rows; ++t)
      for (Index c = 0; c < columns; ++c) values[size_of(t * columns + c)] = number(what, me * 100 + t, c);
  };
  std::vector<float> logits, input, gradient;
  fill(logits, "logits", experts);
  fill(input, "input", hidden);
  fill(gradient, "gradient", hidden);
  if (test.one_sided)
    for (Index t = 0; t < rows; ++t) std::fill_n(&logits[size_of(t * experts + 4)], 4, 50.0F);
  mp::RoutePlan<float> plan{};
  mp::Router<mp::TopKSoftmax, TopK>::route(rank, {logits.data(), room, experts}, plan);
  std::fill_n(plan.weight, rows * TopK, 1.0F / TopK);
  std::fill_n(plan.sorted_weight, rows * TopK, 1.0F / TopK);

  const Spread spread{};
  typename Spread::template RoutedRecord<float> record{};
  std::vector<float> output(input.size(), -1), input_gradient(input.size(), -1), weight_gradient(size_of(room * TopK));
  const mp::Matrix<const float> in{input.data(), room, hidden};
  spread.forward(rank, plan, in, mp::Matrix<float>{output.data(), room, hidden}, record);
  spread.backward(rank, plan, in, mp::Matrix<const float>{gradient.data(), room, hidden},
                  mp::Matrix<float>{input_gradient.data(), room, hidden},
                  mp::Matrix<float>{weight_gradient.data(), room, TopK}, record);

  const auto require = [](bool holds, const char* what) {
    if (!holds) throw mp::Error{what};
  };
  const bool exact = TopK == 1 || TopK == 2 || TopK == 4;  // products with 1 / k and their sums are
  for (std::size_t i = 0; i < size_of(rows * hidden); ++i) {
    const auto same = [&](float a, float b) { return exact ? a == b : std::fabs(a - b) <= 4e-7F * std::fabs(b); };
    require(same(output[i], input[i]), "what came back is not what was sent");
    require(same(input_gradient[i], gradient[i]), "the gradient of the input is not that of the output");
  }
  for (Index i = 0; i < rows * TopK; ++i) {
    double dot = 0, size = 1;
    for (Index h = 0; h < hidden; ++h) {
      const auto at = size_of(i / TopK * hidden + h);
      dot += double{gradient[at]} * double{input[at]};
      size += std::fabs(double{gradient[at]} * double{input[at]});
    }
    require(std::fabs(double{weight_gradient[size_of(i)]} - dot) <= 1e-6 * size, "the gradient of a weight is wrong");
  }
  for (std::size_t i = size_of(rows * hidden); i < output.size(); ++i)
    require(output[i] == -1 && input_gradient[i] == -1, "rows beyond the last were written");
  if (test.receive_rows > 0 && test.one_sided) require(record.exchange.pass_count > 1, "all went in one pass");
}

template <class Dispatcher, Index TopK> void check(const Experiment& test) {
  mp::ThreadWorld world{test.ranks};
  world.run([&](mp::ThreadWorld::Rank& connection) { send_and_return<Dispatcher, TopK>(connection, test); });
}

//! A sequence may send all of its tokens to as many experts of one rank as that has.
constexpr Index least_rows(Index ranks, Index top_k) { return length * std::min(top_k, experts / ranks); }

template <class Dispatcher> void check_all() {
  for (const Index ranks : {1, 2, 4})
    for (const bool idle : {false, true})
      for (const bool one_sided : {false, true})
        for (const bool bounded : {false, true}) {
          CAPTURE(ranks);
          CAPTURE(idle);
          CAPTURE(one_sided);
          CAPTURE(bounded);
          const auto test = [&](Index top_k) {
            return Experiment{ranks, bounded ? least_rows(ranks, top_k) : 0, idle, one_sided};
          };
          CHECK_NOTHROW((check<Dispatcher, 1>(test(1))));
          CHECK_NOTHROW((check<Dispatcher, 2>(test(2))));
          CHECK_NOTHROW((check<Dispatcher, 3>(test(3))));
          CHECK_NOTHROW((check<Dispatcher, 4>(test(4))));
        }
}

}  // namespace

TEST_CASE("AllToAll: tokens come back as they were sent") { check_all<mp::AllToAll>(); }

TEST_CASE("AllGather: tokens come back as they were sent") { check_all<mp::AllGather>(); }

TEST_CASE("room for fewer rows than one sequence may send is refused") {
  CHECK_THROWS_WITH_AS(
      (check<mp::AllToAll, 2>({.ranks = 2, .receive_rows = 4, .one_sided = true})),
      "moepar: receive_rows is 4, but one sequence may send 12 rows to the experts of a rank. Fix: set "
      "it to at least length x min(TopK, experts of a rank), or 0.",
      mp::Error);
}
