// SPDX-License-Identifier: Apache-2.0
// Modules without a router: their gradients in 64 bits against central differences.
#include "gradient_check.hpp"

namespace mp = moepar;
using namespace gradient_check;

namespace {

const std::vector<std::vector<Index>> batches = {{0}, {1}, {5}, {0, 1, 4, 3}};

//! `rank.rows()` for a stack of experts, and the place of its sums.
template <class Rank> mp::RowGroups grouped(Rank& rank, Index groups, const Index* begins) {
  const auto& table = rank.granules(mp::Kind::expert);
  return {.groups = groups,
          .granules = rank.shape().sequences,
          .parts = static_cast<Index>(table.parts.size()),
          .begins = begins,
          .merges = table.merges.data()};
}

}  // namespace

TEST_CASE("Linear: gradients agree with central differences") {
  for (const auto& lengths : batches) {
    CAPTURE(lengths.size());
    RowPass<mp::Linear<5, 3>>{5, 3, lengths}.check();
    RowPass<mp::Linear<1, 17>>{1, 17, lengths}.check();
  }
}

TEST_CASE("RmsNorm: gradients agree with central differences") {
  for (const auto& lengths : batches) {
    CAPTURE(lengths.size());
    RowPass<mp::RmsNorm<7>>{7, 7, lengths}.check();
    RowPass<mp::RmsNorm<19>>{19, 19, lengths, {.norm_epsilon = 0.3}}.check();
  }
  SUBCASE("rows of zeros, where the epsilon is all there is") {
    RowPass<mp::RmsNorm<3>> pass{3, 3, {2}, {.norm_epsilon = 0.01}};
    std::fill(pass.input.begin(), pass.input.begin() + 3, 0.0);
    pass.check();
  }
}

TEST_CASE("Attention: gradients agree with central differences") {
  for (const std::vector<Index>& lengths : {std::vector<Index>{0}, {1}, {0, 1, 4, 3}}) {
    CAPTURE(lengths.size());
    RowPass<mp::Attention<5, 4, 2, 6>>{5, 5, lengths}.check();
    RowPass<mp::Attention<7, 4, 1, 2>>{7, 7, lengths, {.rotary_theta = 100}}.check();
    RowPass<mp::Attention<8, 4, 4>>{8, 8, lengths}.check();
  }
  static_assert(mp::cpu::attention_block < 67);
  RowPass<mp::Attention<1, 1, 1, 2>>{1, 1, {67}}.check();
}

TEST_CASE("SwiGlu, dense: gradients agree with central differences over several sequences") {
  for (const auto& lengths : batches) RowPass<mp::SwiGlu<5, 7>>{5, 5, lengths}.check();
}

TEST_CASE("SwiGlu, stacked: each expert has its own rows, one of them none") {
  using Module = mp::Experts<mp::SwiGlu<4, 3>, 3>;
  // Rows by expert, then sequence.
  for (const std::vector<Index>& begins :
       {std::vector<Index>{0, 1, 1, 3, 3, 3, 3, 4, 6, 7}, std::vector<Index>{0, 0, 0, 0, 0, 0, 0, 0, 0, 0},
        std::vector<Index>{0, 0, 1, 1, 1, 1, 1, 1, 1, 1}}) {
    RowPass<Module> pass{4, 4, {3, 2, 2}};
    const auto rows = grouped(pass.rank, 3, begins.data());
    pass.rows = begins.back();
    const auto objective = [&] {
      pass.rank.arena().release(0);
      pass.rank.with_rows(rows, 0, [&] {
        pass.module_.forward(pass.rank, pass.matrix(std::as_const(pass.input)), pass.matrix(pass.output), pass.record);
      });
      return pass.value();
    };
    (void)objective();
    pass.rank.with_gradients(pass.module_, [&] {
      pass.rank.with_rows(rows, 0, [&] {
        pass.module_.backward(pass.rank, pass.matrix(std::as_const(pass.output_gradient)),
                              pass.matrix(pass.input_gradient), pass.record);
      });
    });
    const std::span used{pass.input.data(), size_of(pass.rows * 4)};
    const auto gradient = pass.input_gradient;
    check_slopes("input", used, std::span{gradient}.first(used.size()), objective);
    check_parameters(pass.module_, pass.rank, objective);
    const auto of_second = pass.rank.kept_gradient(pass.module_.expert.gate).subspan(12, 12);
    if (begins[3] == begins[6]) CHECK(std::all_of(of_second.begin(), of_second.end(), [](double x) { return x == 0; }));
  }
}

TEST_CASE("Embedding: the gradient of the table") {
  constexpr Index vocabulary = 7, hidden = 3;
  using Module = mp::Embedding<vocabulary, hidden>;
  for (const auto& lengths : batches) {
    Module module_{};
    mp::SingleRank<double> rank{module_, RowPass<Module>::shape_of(lengths), plenty};
    poison(rank);
    rank.set_lengths(lengths);
    Numbers numbers{5};
    fill_parameters(module_, rank, numbers);
    const Index rows = rank.rows().rows(), capacity = rank.shape().tokens();
    std::vector<std::int32_t> ids(size_of(capacity), -1);  // no token where no row is
    std::vector<double> output(size_of(capacity * hidden), not_a_number), output_gradient(output);
    for (Index row = 0; row < rows; ++row) ids[size_of(row)] = numbers.below(vocabulary - 1);  // the last one never
    for (Index i = 0; i < rows * hidden; ++i) output_gradient[size_of(i)] = numbers();
    Module::Record<double> record{};
    const auto objective = [&] {
      module_.forward(rank, ids.data(), mp::Matrix{output.data(), capacity, hidden}, record);
      double sum = 0;
      for (Index i = 0; i < rows * hidden; ++i) sum += output[size_of(i)] * output_gradient[size_of(i)];
      return sum;
    };
    (void)objective();
    rank.with_gradients(module_, [&] {
      module_.backward(rank, mp::Matrix<const double>{output_gradient.data(), capacity, hidden}, record);
    });
    check_parameters(module_, rank, objective);

    const auto kept = rank.kept_gradient(module_.weight);
    const std::vector<double> before(kept.begin(), kept.end());
    rank.numerics().padding_token = 2;
    (void)objective();
    rank.with_gradients(module_, [&] {
      module_.backward(rank, mp::Matrix<const double>{output_gradient.data(), capacity, hidden}, record);
    });
    for (Index i = 0; i < vocabulary * hidden; ++i)
      CHECK(rank.kept_gradient(module_.weight)[size_of(i)] == (i / hidden == 2 ? 0 : before[size_of(i)]));
  }
}
