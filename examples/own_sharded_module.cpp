// SPDX-License-Identifier: Apache-2.0
// A module of your own, sharded over four ranks: each keeps a quarter of every parameter, has the whole of them only
// while the module runs, and keeps a quarter of the gradient. What comes out has the bits of one rank that keeps all.
//
//   g++ -std=c++20 -O3 -I include examples/own_sharded_module.cpp -pthread && ./a.out
#include <algorithm>
#include <array>
#include <cstdio>
#include <moepar/moe.hpp>
#include <vector>

namespace mp = moepar;
using mp::Index;

constexpr Index hidden = 128, inner = 512, sequences = 4, length = 8;

// out = in + W2 relu(W1 in). Nothing in it knows of shards.
struct Residual {
  static constexpr mp::ModuleFacts facts{.hidden = hidden};

  mp::Parameter first{inner, hidden}, second{hidden, inner};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("first.weight", self.first);
    walk("second.weight", self.second);
  }

  template <class Element> struct Record {
    mp::Matrix<const Element> in{};
    mp::Matrix<Element> positive{};
  };

  template <class Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, mp::ConstMatrix<Element> in, mp::Matrix<Element> out,
                         Record<Element>& record) const {
    record = {.in = in, .positive = rank.arena().template take<Element>(in.rows, inner)};
    rank.device().multiply(rank.rows(), in, rank.weights(first), record.positive);
    if constexpr (!Rank::counting)  // a rank that only counts has no rows to loop over
      for (Index i = 0; i < rank.rows().rows() * inner; ++i)
        record.positive.data[i] = std::max(record.positive.data[i], Element{0});
    rank.device().multiply(rank.rows(), record.positive, rank.weights(second), out);
    rank.device().add(rank.rows(), in, out, out);
  }

  template <class Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, mp::ConstMatrix<Element> out_gradient, mp::Matrix<Element> in_gradient,
                          const Record<Element>& record) const {
    const auto& rows = rank.rows();
    const Index mark = rank.arena().mark();
    const auto gradient = rank.arena().template take<Element>(record.positive.rows, inner);
    rank.device().multiply_transposed(rows, out_gradient, rank.weights(second), gradient);
    rank.device().weight_gradient(rows, out_gradient, record.positive, rank.gradient(second));
    if constexpr (!Rank::counting)
      for (Index i = 0; i < rows.rows() * inner; ++i)
        if (!(record.positive.data[i] > 0)) gradient.data[i] = 0;
    rank.device().multiply_transposed(rows, gradient, rank.weights(first), in_gradient);
    rank.device().weight_gradient(rows, gradient, record.in, rank.gradient(first));
    rank.device().add(rows, out_gradient, in_gradient, in_gradient);
    rank.arena().release(mark);
  }
};

template <Index Degree> struct Sharded : mp::HybridShard<Residual, Degree> {};

namespace {

// What must not depend on the ranks; each fills in its part.
struct Result {
  std::vector<float> output = std::vector<float>(sequences * length * hidden), input_gradient = output;
  std::array<std::vector<float>, 2> gradients{std::vector<float>(inner * hidden), std::vector<float>(inner* hidden)};
  friend bool operator==(const Result&, const Result&) = default;
};

// Bytes of parameters and their gradients on one rank.
struct Bytes {
  Index kept = 0, in_forward = 0, in_backward = 0, after = 0, gradient = 0;
};

template <Index Ranks> Result run_on(std::vector<Bytes>& bytes) {
  using Job = mp::Deployment<Sharded<Ranks>, mp::World<Ranks>>;
  static constexpr mp::StepShape shape{.sequences = sequences / Ranks, .length = length};
  Result result;
  bytes.resize(Ranks);
  mp::run_threads<Job>([&](auto& job) {
    Sharded<Ranks> module_{};
    auto rank = mp::make_host_rank(job, module_, shape);
    const auto parameters = mp::list_parameters(module_, job.layout(), job.rank());
    mp::initialize(rank, parameters, /*seed=*/1, /*standard_deviation=*/0.1);

    // The rows of this rank's sequences among those of all.
    std::vector<Index> begins;
    for (Index s = 0; s <= shape.sequences; ++s) begins.push_back(s * length);
    const Index first = job.rank() * shape.tokens() * hidden;
    const auto own = [&](std::vector<float>& rows) {
      return mp::Matrix<float>{rows.data() + first, shape.tokens(), hidden};
    };
    std::vector<float> input(static_cast<std::size_t>(sequences * length * hidden));
    mp::fill_normal(std::span{input}, mp::random_key(/*seed=*/1, "input"), /*step=*/0, /*first=*/0, 0.0, 1.0);

    Bytes& own_bytes = bytes[static_cast<std::size_t>(job.rank())];
    typename Sharded<Ranks>::template Record<float> record{};
    rank.begin_micro_step(0, begins.data());
    module_.forward(rank, own(input), own(result.output), record);  // gathers, runs, frees
    own_bytes.in_forward = mp::high_water(rank).parameters;
    module_.backward(rank, own(result.output), own(result.input_gradient), record);  // gathers, runs, reduces, frees
    rank.finish_gradients();
    own_bytes.in_backward = mp::high_water(rank).parameters;
    own_bytes.after = rank.parameters().mark();

    for (std::size_t i = 0; i < parameters.size(); ++i) {
      const auto gradient = rank.kept_gradient(parameters[i].parameter);
      own_bytes.kept += static_cast<Index>(rank.kept(parameters[i].parameter).size_bytes());
      own_bytes.gradient += static_cast<Index>(gradient.size_bytes());
      parameters[i].for_each_run([&](Index, Index begin, Index count, Index at) {
        std::copy_n(gradient.begin() + at, count, result.gradients[i].begin() + begin);
      });
    }
  });
  return result;
}

void print(const std::vector<Bytes>& ranks) {
  for (std::size_t rank = 0; rank < ranks.size(); ++rank) {
    const Bytes& bytes = ranks[rank];
    std::printf("%zu of %zu %12s %12s %16s %12s %14s\n", rank, ranks.size(), mp::human_bytes(bytes.kept).c_str(),
                mp::human_bytes(bytes.in_forward).c_str(), mp::human_bytes(bytes.in_backward).c_str(),
                mp::human_bytes(bytes.after).c_str(), mp::human_bytes(bytes.gradient).c_str());
  }
  std::printf("\n");
}

}  // namespace

int main() {
  std::vector<Bytes> alone, sharded;
  const Result one = run_on<1>(alone), four = run_on<4>(sharded);
  std::printf("A module of two %lld x %lld matrices, 32 bits an element\n\n", static_cast<long long>(inner),
              static_cast<long long>(hidden));
  std::printf("                       gathered   gathered and                      keeps of\n");
  std::printf("rank          keeps   in forward   whole gradient   after both   the gradient\n");
  print(alone);
  print(sharded);
  const bool equal = one == four;
  std::printf("Output, gradient of the input, gradients of the parameters: %s\n",
              equal ? "the same bits on 1 rank and on 4" : "DIFFERENT");
  bool quarter = true;
  for (const Bytes& bytes : sharded)
    quarter = quarter && 4 * bytes.kept == alone[0].kept && 4 * bytes.gradient == alone[0].gradient && bytes.after == 0;
  return equal && quarter ? 0 : 1;
}
