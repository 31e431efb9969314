// SPDX-License-Identifier: Apache-2.0
// Mixture of experts: its gradients in 64 bits against central differences, for every policy.
#include "gradient_check.hpp"

namespace mp = moepar;
using namespace gradient_check;

namespace moe_gradients {
namespace {

constexpr Index hidden = 4, experts = 5;
template <class Policy, Index TopK>
struct Layer : mp::Moe<mp::Router<Policy, TopK>, mp::Experts<mp::SwiGlu<hidden, 3>, experts>> {};

constexpr mp::Numerics with_losses{.auxiliary_loss_coefficient = 0.7, .z_loss_coefficient = 0.3};
const std::vector<std::vector<Index>> batches = {{0}, {1}, {0, 1, 5, 3}};

template <class Policy, Index TopK> void check(const mp::Numerics& numerics = {}) {
  for (const auto& lengths : batches) {
    CAPTURE(lengths.size());
    RowPass<Layer<Policy, TopK>>{hidden, hidden, lengths, numerics}.check();
  }
}

std::vector<double> softmax(const double* logits) {
  std::vector<double> result;
  double sum = 0;
  for (Index e = 0; e < experts; ++e) sum += std::exp(logits[e]);
  for (Index e = 0; e < experts; ++e) result.push_back(std::exp(logits[e]) / sum);
  return result;
}

//! Gives the plan that a record keeps the weights of other parameters: softmax among the chosen.
template <class Pass> void weigh_again(Pass& pass) {
  auto& plan = pass.record.plan;
  const auto gate = pass.rank.weights(pass.module_.gate.weight);
  for (Index t = 0; t < pass.rows; ++t) {
    std::vector<double> logits(experts, 0.0);
    for (Index e = 0; e < experts; ++e)
      for (Index h = 0; h < hidden; ++h) logits[size_of(e)] += pass.input[size_of(t * hidden + h)] * gate.row(e)[h];
    const auto all = softmax(logits.data());
    double sum = 0;
    for (Index slot = 0; slot < plan.top_k; ++slot) sum += all[size_of(plan.expert[t * plan.top_k + slot])];
    for (Index i = t * plan.top_k; i < (t + 1) * plan.top_k; ++i)
      plan.sorted_weight[plan.place[i]] = plan.weight[i] = all[size_of(plan.expert[i])] / sum;
  }
}

//! Gradients with the choice of experts kept by hand: the differences would change it otherwise.
template <class Pass> void check_with_the_choice_kept(Pass& pass) {
  const auto objective = [&] {
    pass.rank.arena().release(0);
    weigh_again(pass);
    pass.module_.forward(pass.rank, pass.matrix(std::as_const(pass.input)), pass.matrix(pass.output), pass.record);
    return pass.value();
  };
  (void)objective();
  pass.backward();
  const auto gradient = pass.input_gradient;
  const auto used = size_of(pass.rows * hidden);
  check_slopes("input", std::span{pass.input}.first(used), std::span{gradient}.first(used), objective);
  check_parameters(pass.module_, pass.rank, objective);
}

//! The auxiliary loss by its definition, over the rows [begin, end).
template <class Pass> double balance_of(const Pass& pass, Index begin, Index end) {
  const auto& record = pass.record;
  double loss = 0;
  for (Index e = 0; e < experts; ++e) {
    double sent = 0, probability = 0;
    for (Index t = begin; t < end; ++t) {
      for (Index slot = 0; slot < record.plan.top_k; ++slot)
        sent += record.plan.expert[t * record.plan.top_k + slot] == e;
      probability += softmax(record.logits.row(t))[size_of(e)];
    }
    loss += sent * probability;
  }
  const auto count = static_cast<double>(end - begin);
  return experts * loss / count / count;
}

}  // namespace

TEST_CASE("Moe, TopKSoftmax: gradients agree with central differences") {
  check<mp::TopKSoftmax, 1>();
  check<mp::TopKSoftmax, 2>();
  check<mp::TopKSoftmax, 3>();
}

TEST_CASE("Moe, Sinkhorn: gradients agree with central differences, the choice of experts apart") {
  check<mp::Sinkhorn, 1>();
  check<mp::Sinkhorn, 2>();
}

TEST_CASE("Moe: gradients of the auxiliary loss and of the z-loss") {
  check<mp::AuxiliaryLoss, 2>(with_losses);
  check<mp::RoundAuxiliaryLoss, 1>(with_losses);
  check<mp::MegatronLoss, 2>(with_losses);
  check<mp::RoundMegatronLoss, 3>(with_losses);
  check<mp::TopKSoftmax, 2>(with_losses);
}

TEST_CASE("Moe: the auxiliary losses and the z-loss are what they are defined to be") {
  const std::vector<Index> lengths = {0, 1, 5, 3};
  RowPass<Layer<mp::AuxiliaryLoss, 2>> by_sequence{hidden, hidden, lengths, with_losses};
  RowPass<Layer<mp::RoundAuxiliaryLoss, 2>> of_round{hidden, hidden, lengths, with_losses};
  const auto cross = [](auto& pass) {  // the sum of output x fixed numbers, without the losses
    double sum = 0;
    for (std::size_t i = 0; i < size_of(pass.rows * hidden); ++i) sum += pass.output[i] * pass.output_gradient[i];
    return sum;
  };
  double z_loss = 0;
  const double losses = by_sequence.objective() - cross(by_sequence);
  for (Index t = 0; t < 9; ++t) {
    double sum = 0;
    for (Index e = 0; e < experts; ++e) sum += std::exp(by_sequence.record.logits.row(t)[e]);
    z_loss += std::log(sum) * std::log(sum) / 9;
  }
  const double mean =
      (balance_of(by_sequence, 0, 1) * 1 + balance_of(by_sequence, 1, 6) * 5 + balance_of(by_sequence, 6, 9) * 3) / 9;
  CHECK(losses == doctest::Approx(0.7 * mean + 0.3 * z_loss).epsilon(1e-12));
  const double losses_of_round = of_round.objective() - cross(of_round);
  CHECK(losses_of_round == doctest::Approx(0.7 * balance_of(of_round, 0, 9) + 0.3 * z_loss).epsilon(1e-12));
  RowPass<Layer<mp::RoundMegatronLoss, 2>> as_megatron{hidden, hidden, lengths, with_losses};
  const double losses_as_megatron = as_megatron.objective() - cross(as_megatron);
  CHECK(losses_as_megatron == doctest::Approx(0.7 * balance_of(as_megatron, 0, 9) / 2 + 0.3 * z_loss).epsilon(1e-12));
}

TEST_CASE("Moe: an expert without tokens has a gradient of zeros") {
  RowPass<Layer<mp::AuxiliaryLoss, 2>> pass{hidden, hidden, {3, 2}, with_losses};
  for (Index t = 0; t < 5; ++t) pass.input[size_of(t * hidden)] = 3 + 0.1 * static_cast<double>(t);
  const auto gate = pass.rank.kept(pass.module_.gate.weight);
  gate[2 * hidden] = -9;  // nobody asks for expert 2
  pass.check();
  (void)pass.objective();
  REQUIRE(pass.record.plan.expert_begin[3] - pass.record.plan.expert_begin[2] == 0);
  for (const mp::Parameter* parameter :
       {&pass.module_.experts.expert.gate, &pass.module_.experts.expert.down, &pass.module_.experts.expert.up}) {
    const auto of_expert = pass.rank.kept_gradient(*parameter).subspan(size_of(2 * parameter->size()), 12);
    CHECK(std::all_of(of_expert.begin(), of_expert.end(), [](double x) { return x == 0; }));
  }
}

TEST_CASE("Moe: equal logits go to the lower experts, and gradients hold") {
  RowPass<Layer<mp::TopKSoftmax, 3>> pass{hidden, hidden, {2, 1, 4}};
  SUBCASE("all are zero") {
    for (double& value : pass.rank.kept(pass.module_.gate.weight)) value = 0;
  }
  SUBCASE("all are equal, not zero") {
    const auto gate = pass.rank.kept(pass.module_.gate.weight);
    for (std::size_t i = 0; i < gate.size(); ++i) gate[i] = gate[i % hidden];
  }
  (void)pass.objective();
  for (Index i = 0; i < 7 * 3; ++i) {
    CHECK(pass.record.plan.expert[i] == i % 3);
    CHECK(pass.record.plan.weight[i] == doctest::Approx(1.0 / 3).epsilon(1e-15));
  }
  check_with_the_choice_kept(pass);
}

TEST_CASE("Moe: a record that holds a plan is followed") {
  RowPass<Layer<mp::TopKSoftmax, 2>> pass{hidden, hidden, {4}};
  (void)pass.objective();
  auto& plan = pass.record.plan;
  const std::vector<std::int32_t> chosen{plan.expert, plan.expert + 8};
  for (double& value : pass.rank.kept(pass.module_.gate.weight)) value = -value;  // would choose others
  check_with_the_choice_kept(pass);
  CHECK(std::equal(chosen.begin(), chosen.end(), pass.record.plan.expert));
}

}  // namespace moe_gradients
