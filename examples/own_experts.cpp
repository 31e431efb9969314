// SPDX-License-Identifier: Apache-2.0
// Experts of your own, spread over ranks: a feed-forward with squared ReLU, its matrix products by the rank's device,
// the rest a plain loop. ExpertParallel brings it the rows of all ranks; four ranks leave the bits of one.
//
//   g++ -std=c++20 -O3 -I include examples/own_experts.cpp -pthread && ./a.out
#include <algorithm>
#include <cstdio>
#include <map>
#include <moepar/moe.hpp>
#include <string>
#include <vector>

namespace mp = moepar;
using mp::Index;

// out = W2 relu(W1 in)^2 (So et al. 2021). Nothing in it knows of experts or ranks: `rank` says which rows there are,
// and rank.weights(...) holds the matrices of all experts of this rank.
template <Index Hidden, Index Inner> struct ReluSquared {
  static constexpr mp::ModuleFacts facts{.hidden = Hidden};

  mp::Parameter up{Inner, Hidden}, down{Hidden, Inner};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("up.weight", self.up);
    walk("down.weight", self.down);
  }

  template <class Element> struct Record {
    mp::Matrix<const Element> input{};
    mp::Matrix<Element> inner{}, squared{};
  };

  template <class Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, mp::ConstMatrix<Element> input, mp::Matrix<Element> output,
                         Record<Element>& record) const {
    record = {.input = input,
              .inner = rank.arena().template take<Element>(input.rows, Inner),
              .squared = rank.arena().template take<Element>(input.rows, Inner)};
    rank.device().multiply(rank.rows(), input, rank.weights(up), record.inner);
    if constexpr (!Rank::counting)  // a rank that only counts has no rows to loop over
      for (Index i = 0; i < rank.rows().rows() * Inner; ++i) {
        const Element positive = std::max(record.inner.data[i], Element{0});
        record.squared.data[i] = positive * positive;
      }
    rank.device().multiply(rank.rows(), record.squared, rank.weights(down), output);
  }

  template <class Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, mp::ConstMatrix<Element> output_gradient, mp::Matrix<Element> input_gradient,
                          const Record<Element>& record) const {
    const auto& rows = rank.rows();
    const Index mark = rank.arena().mark();
    const auto gradient = rank.arena().template take<Element>(record.inner.rows, Inner);
    rank.device().multiply_transposed(rows, output_gradient, rank.weights(down), gradient);
    rank.device().weight_gradient(rows, output_gradient, record.squared, rank.gradient(down));
    if constexpr (!Rank::counting)
      for (Index i = 0; i < rows.rows() * Inner; ++i)
        gradient.data[i] *= 2 * std::max(record.inner.data[i], Element{0});
    rank.device().multiply_transposed(rows, gradient, rank.weights(up), input_gradient);
    rank.device().weight_gradient(rows, gradient, record.input, rank.gradient(up));
    rank.arena().release(mark);
  }
};

constexpr Index hidden = 32, experts = 8, sequences = 4, longest = 12;
constexpr Index length_of[sequences] = {7, 0, 12, 5};

template <Index Degree> struct Experts : mp::ExpertParallel<mp::Experts<ReluSquared<hidden, 48>, experts>, Degree> {};
template <Index Degree> struct Layer : mp::Moe<mp::Router<mp::TopKSoftmax, 2>, Experts<Degree>> {};

namespace {

// What must not depend on the ranks. Each fills in its part.
struct Result {
  std::vector<float> output{}, input_gradient{};
  std::map<std::string, std::vector<float>> gradients{};
  friend bool operator==(const Result&, const Result&) = default;
};

template <Index Ranks> Result run_on() {
  using Job = mp::Deployment<Layer<Ranks>, mp::World<Ranks>>;
  static constexpr mp::StepShape shape{.sequences = sequences / Ranks, .length = longest};
  std::vector<Result> parts(Ranks);
  mp::run_threads<Job>([&](auto& job) {
    Layer<Ranks> layer{};
    auto rank = mp::make_host_rank(job, layer, shape);
    const auto parameters = mp::list_parameters(layer, job.layout(), job.rank());
    mp::initialize(rank, parameters, /*seed=*/1, /*standard_deviation=*/0.2);

    // The sequences of this rank, one behind the other; row r of a sequence is the same on every layout.
    const Index first = job.rank() * shape.sequences;
    std::vector<Index> begins{0};
    std::vector<float> input(static_cast<std::size_t>(shape.tokens() * hidden)), output(input), input_gradient(input);
    const auto matrix = [](std::vector<float>& rows) { return mp::Matrix<float>{rows.data(), shape.tokens(), hidden}; };
    for (Index s = first; s < first + shape.sequences; ++s) {
      mp::fill_normal(std::span{input}.subspan(static_cast<std::size_t>(begins.back() * hidden),
                                               static_cast<std::size_t>(length_of[s] * hidden)),
                      mp::random_key(/*seed=*/1, "input"), /*step=*/s, /*first=*/0, 0.0, 1.0);
      begins.push_back(begins.back() + length_of[s]);
    }

    typename Layer<Ranks>::template Record<float> record{};
    rank.begin_micro_step(0, begins.data());
    layer.forward(rank, matrix(input), matrix(output), record);
    rank.with_gradients(layer, [&] {  // of half the sum of squares of the output
      layer.backward(rank, matrix(output), matrix(input_gradient), record);
    });
    rank.finish_gradients();

    Result& own = parts[static_cast<std::size_t>(job.rank())];
    const auto used = static_cast<std::ptrdiff_t>(begins.back() * hidden);
    own.output.assign(output.begin(), output.begin() + used);
    own.input_gradient.assign(input_gradient.begin(), input_gradient.begin() + used);
    for (const mp::ListedParameter& listed : parameters)
      listed.for_each_run([&](Index copy, Index, Index count, Index at) {
        const auto values =
            rank.kept_gradient(listed.parameter).subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count));
        own.gradients[listed.names[static_cast<std::size_t>(copy)]].assign(values.begin(), values.end());
      });
  });
  Result whole;
  for (const Result& part : parts) {
    whole.output.insert(whole.output.end(), part.output.begin(), part.output.end());
    whole.input_gradient.insert(whole.input_gradient.end(), part.input_gradient.begin(), part.input_gradient.end());
    for (const auto& [name, values] : part.gradients) {
      const auto& known = whole.gradients.try_emplace(name, values).first->second;
      if (known != values) throw mp::Error{name + " has another gradient on another rank"};
    }
  }
  return whole;
}

// The gradients of all parameters whose names begin so, one behind the other.
std::vector<float> gradients_of(const Result& result, const std::string& module_name) {
  std::vector<float> joined;
  for (const auto& [name, values] : result.gradients)
    if (name.starts_with(module_name)) joined.insert(joined.end(), values.begin(), values.end());
  return joined;
}

void compare(const char* what, const std::vector<float>& one, const std::vector<float>& four) {
  const auto hash = [](const std::vector<float>& values) {
    return static_cast<unsigned long long>(mp::tensor_hash<float>("", 0, std::span{values}));
  };
  std::printf("%-21s %8zu   %016llx   %016llx   %s\n", what, one.size(), hash(one), hash(four),
              one == four ? "equal" : "DIFFERENT");
}

}  // namespace

int main() {
  const Result one = run_on<1>(), four = run_on<4>();
  std::printf("%lld experts of your own, top-2 of them for a token; 4 sequences, one of them empty\n\n",
              static_cast<long long>(experts));
  std::printf("%-21s %8s   %16s   %16s\n", "", "numbers", "hash on 1 rank", "hash on 4 ranks");
  compare("output", one.output, four.output);
  compare("gradient of input", one.input_gradient, four.input_gradient);
  compare("gradient of gate", gradients_of(one, "gate"), gradients_of(four, "gate"));
  compare("gradients of experts", gradients_of(one, "experts"), gradients_of(four, "experts"));
  return one == four ? 0 : 1;
}
