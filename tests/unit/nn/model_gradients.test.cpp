// SPDX-License-Identifier: Apache-2.0
// Modules of modules up to a language model: their gradients in 64 bits against central differences.
#include "gradient_check.hpp"

namespace mp = moepar;
using namespace gradient_check;

namespace {

constexpr Index hidden = 6, vocabulary = 11;
template <class Policy>
struct Layer : mp::Moe<mp::Router<Policy, 2>, mp::ExpertParallel<mp::Experts<mp::SwiGlu<hidden, 5>, 3>, 1>> {};
template <class Policy> struct Block : mp::TransformerBlock<mp::Attention<hidden, 2, 1, 4>, Layer<Policy>> {};

constexpr mp::Numerics numerics{
    .norm_epsilon = 0.02, .rotary_theta = 50, .auxiliary_loss_coefficient = 0.7, .z_loss_coefficient = 0.3};

//! Forward, loss and backward of a language model, in the order of TrainingStep.
template <class Model> struct LossPass {
  LossPass(std::vector<Index> sequence_lengths, std::uint64_t seed)
      : lengths{std::move(sequence_lengths)},
        rank{model, RowPass<mp::Linear<1, 1>>::shape_of(lengths), plenty, 1, numerics} {
    poison(rank);
    Numbers numbers{seed};
    fill_parameters(model, rank, numbers);
    for (const Index length : lengths) begins.push_back(begins.back() + length);
    ids.assign(size_of(rank.shape().tokens()), -7);
    targets = ids;
    losses.resize(ids.size());
    for (std::size_t i = 0; i < size_of(begins.back()); ++i) {
      ids[i] = numbers.below(vocabulary);
      targets[i] = i % 4 == 2 ? -1 : numbers.below(vocabulary);
      count += targets[i] >= 0 ? 1 : 0;
    }
  }
  double pass(bool learns) {
    for (const mp::ListedParameter& listed : list_parameters(model, {}, 0)) copy_to_uses(rank, listed);
    rank.arena().release(0);
    rank.set_batch({.tokens = begins.back(), .targets = count});
    rank.begin_micro_step(0, begins.data());
    auto& arena = rank.arena();
    const Index rows = rank.shape().tokens();
    const auto hidden_rows = arena.take<double>(rows, hidden), hidden_gradient = arena.take<double>(rows, hidden);
    typename Model::template Record<double> record{};
    model.forward(rank, ids.data(), hidden_rows, record);
    const auto asked = static_cast<double>(count), tokens = static_cast<double>(begins.back());
    model.loss(rank, hidden_rows, targets.data(), 1 / asked, losses.data(), hidden_gradient);
    std::vector<std::int64_t> of_round(64);
    close_balance(rank, of_round.data());
    loss = 0;
    for (std::size_t t = 0; t < size_of(begins.back()); ++t) loss += losses[t] / asked;
    double value = loss;
    const auto& totals = rank.totals();
    for (Index g = 0; g < totals.granules && totals.layers > 0; ++g) {
      value += numerics.auxiliary_loss_coefficient * balance_of_sequence(rank, g, of_round.data()) / tokens;
      value += numerics.z_loss_coefficient * totals.z_losses[g] / tokens;
    }
    if (learns) {
      model.backward(rank, hidden_gradient, record);
      rank.finish_gradients();
      add_gradients_of_uses(rank, model);
    }
    return value;
  }
  [[nodiscard]] std::vector<Index> choice() {
    const auto& totals = rank.totals();
    return {totals.counts, totals.counts + totals.layers * totals.granules * totals.experts};
  }
  void check() {
    (void)pass(true);
    const auto chosen = choice();
    std::vector<std::vector<double>> gradients;
    mp::for_each_parameter(model, [&](const mp::Site&, const mp::Parameter& parameter) {
      const auto kept = rank.kept_gradient(parameter);
      gradients.emplace_back(kept.begin(), kept.end());
    });
    const auto smooth = [&] {
      const double there = pass(false);
      REQUIRE(choice() == chosen);
      return there;
    };
    mp::for_each_parameter(model, [&](const mp::Site& site, const mp::Parameter& parameter) {
      check_slopes(site.name(), rank.kept(parameter), gradients[size_of(parameter.number)], smooth);
    });
  }

  std::vector<Index> lengths;
  Model model{};
  mp::SingleRank<double> rank;
  Index count = 0;  // targets that are asked for
  double loss = 0;
  std::vector<Index> begins{0};
  std::vector<std::int32_t> ids{}, targets{};
  std::vector<double> losses{};
};

}  // namespace

TEST_CASE("TransformerBlock with experts: gradients agree with central differences") {
  for (const std::vector<Index>& lengths : {std::vector<Index>{0}, {1}, {0, 1, 4}})
    RowPass<Block<mp::AuxiliaryLoss>>{hidden, hidden, lengths, numerics}.check();
}

TEST_CASE("Recompute, Repeat: gradients agree with central differences, and have the bits of plain blocks") {
  using Plain = mp::Repeat<Block<mp::AuxiliaryLoss>, 2>;
  using Recomputed = mp::Repeat<mp::Recompute<Block<mp::AuxiliaryLoss>>, 2>;
  for (const std::vector<Index>& lengths : {std::vector<Index>{0}, {0, 1, 4}}) {
    RowPass<Recomputed> recomputed{hidden, hidden, lengths, numerics, 2};
    recomputed.check();
    RowPass<Plain> plain{hidden, hidden, lengths, numerics, 2};
    CHECK(plain.objective() == recomputed.objective());
    plain.backward();
    recomputed.backward();
    const auto used = static_cast<std::ptrdiff_t>(plain.rows * hidden);
    CHECK(std::equal(plain.input_gradient.begin(), plain.input_gradient.begin() + used,
                     recomputed.input_gradient.begin()));
    std::vector<double> gradients;
    mp::for_each_parameter(plain.module_, [&](const mp::Site&, const mp::Parameter& parameter) {
      for (const double value : plain.rank.kept_gradient(parameter)) gradients.push_back(value);
    });
    auto expected = gradients.cbegin();
    mp::for_each_parameter(recomputed.module_, [&](const mp::Site&, const mp::Parameter& parameter) {
      for (const double value : recomputed.rank.kept_gradient(parameter)) CHECK(value == *expected++);
    });
  }
}

TEST_CASE("CausalLm: the gradient of the whole loss agrees with central differences") {
  SUBCASE("auxiliary loss over each sequence") {
    LossPass<mp::CausalLm<vocabulary, mp::Repeat<Block<mp::AuxiliaryLoss>, 2>>>{{3, 0, 1}, 3}.check();
  }
  SUBCASE("auxiliary loss by layer, head tied to the embedding") {
    LossPass<mp::CausalLm<vocabulary, mp::Repeat<Block<mp::MegatronLoss>, 2>, mp::HeadWeights::tied>>{{3, 0, 1}, 3}
        .check();
  }
  SUBCASE("auxiliary loss over the batch, recomputed") {
    LossPass<mp::CausalLm<vocabulary, mp::Recompute<Block<mp::RoundAuxiliaryLoss>>>>{{2, 0, 1, 4}, 4}.check();
  }
}

TEST_CASE("CausalLm: the loss is the mean over those targets that are asked for") {
  LossPass<mp::CausalLm<vocabulary, mp::RmsNorm<hidden>>> pass{{5, 2}, 6};
  (void)pass.pass(true);
  std::vector<double> hidden_rows(7 * hidden), logits(7 * vocabulary);
  mp::CausalLm<vocabulary, mp::RmsNorm<hidden>>::Record<double> record{};
  pass.rank.arena().release(0);
  pass.model.forward(pass.rank, pass.ids.data(), mp::Matrix{hidden_rows.data(), 7, hidden}, record);
  pass.model.score(pass.rank, mp::Matrix<const double>{hidden_rows.data(), 7, hidden},
                   mp::Matrix{logits.data(), 7, vocabulary});
  double sum = 0, count = 0;
  for (std::size_t t = 0; t < 7; ++t) {
    if (pass.targets[t] < 0) continue;
    double total = 0;
    for (std::size_t v = 0; v < vocabulary; ++v) total += std::exp(logits[t * vocabulary + v]);
    sum += std::log(total) - logits[t * vocabulary + size_of(pass.targets[t])];
    ++count;
  }
  CHECK(count == static_cast<double>(pass.count));
  CHECK(pass.loss == doctest::Approx(sum / count).epsilon(1e-13));
}
