// SPDX-License-Identifier: Apache-2.0
// Law 2: the same bits on every layout, world size, number of micro-steps, dispatcher, transport, number of workers and
// instruction set.
#include <doctest/doctest.h>

#include <moepar/comm/simulated/simulated_world.hpp>
#include <moepar/moe.hpp>

#include "law_training.hpp"

namespace mp = moepar;
using law::Bits;
using law::Setting;
using mp::Index;

namespace {

template <class Policy> const Bits& expected() {
  static const Bits bits = law::train<law::Model<Policy>>({});
  return bits;
}

template <class ModelType, class Policy> void expect_same(const Setting& setting) {
  CAPTURE(law::text_of(setting));
  const Bits bits = law::train<ModelType>(setting);
  CHECK(bits.state == expected<Policy>().state);
  CHECK(bits.reports == expected<Policy>().reports);
}

constexpr Index worlds[] = {1, 2, 3, 4, 6, 8};

}  // namespace

TEST_CASE("every legal layout, both dispatchers, every number of micro-steps") {
  Index layouts = 0;
  for (const Index world : worlds)
    for (const mp::Layout& layout : law::layouts_of(world))
      for (const Index micro_steps : {1, 2, 3, 4}) {
        if (law::batch % (world * micro_steps) != 0) continue;
        expect_same<law::Model<mp::AuxiliaryLoss>, mp::AuxiliaryLoss>({.layout = layout, .micro_steps = micro_steps});
        expect_same<law::Model<mp::AuxiliaryLoss, mp::AllGather>, mp::AuxiliaryLoss>(
            {.layout = layout, .micro_steps = micro_steps});
        ++layouts;
      }
  CHECK(layouts == 118);
}

TEST_CASE("experts on the outermost axis") {
  for (const Index world : {4, 6, 8})
    for (const mp::Layout& layout : law::layouts_of(world, mp::ExpertAxis::outermost))
      expect_same<law::Model<mp::AuxiliaryLoss>, mp::AuxiliaryLoss>({.layout = layout, .micro_steps = 24 / world / 3});
}

TEST_CASE("every policy, in the scope of a sequence and of a round") {
  for (const Index world : worlds)
    for (const mp::Layout& layout : law::layouts_of(world)) {
      expect_same<law::Model<mp::TopKSoftmax>, mp::TopKSoftmax>({.layout = layout});
      expect_same<law::Model<mp::Sinkhorn>, mp::Sinkhorn>({.layout = layout});
      expect_same<law::Model<mp::RoundAuxiliaryLoss>, mp::RoundAuxiliaryLoss>({.layout = layout});
      expect_same<law::Model<mp::RoundMegatronLoss>, mp::RoundMegatronLoss>({.layout = layout});
      expect_same<law::Model<mp::RoundSinkhorn>, mp::RoundSinkhorn>({.layout = layout});
    }
}

TEST_CASE("a head tied to the embedding") {
  const Bits bits = law::train<law::Tied>({});
  CHECK(bits != expected<mp::MegatronLoss>());
  for (const Index world : worlds)
    for (const mp::Layout& layout : law::layouts_of(world))
      for (const Index micro_steps : {1, 3}) {
        if (law::batch % (world * micro_steps) != 0) continue;
        CAPTURE(law::text_of({.layout = layout, .micro_steps = micro_steps}));
        CHECK(law::train<law::Tied>({.layout = layout, .micro_steps = micro_steps}) == bits);
      }
}

TEST_CASE("rows beyond what experts take at once go through further passes") {
  for (const Index world : worlds)
    for (const mp::Layout& layout : law::layouts_of(world))
      for (const Index rows : {14, 40})
        for (const Index micro_steps : {1, 3})
          if (law::batch % (world * micro_steps) == 0) {
            expect_same<law::Model<mp::AuxiliaryLoss>, mp::AuxiliaryLoss>(
                {.layout = layout, .micro_steps = micro_steps, .receive_rows = rows});
            expect_same<law::Model<mp::AuxiliaryLoss, mp::AllGather>, mp::AuxiliaryLoss>(
                {.layout = layout, .micro_steps = micro_steps, .receive_rows = rows});
          }
}

TEST_CASE("recomputation follows the plan") {
  for (const Index world : {1, 4, 6})
    for (const mp::Layout& layout : law::layouts_of(world))
      for (const Index rows : {0, 20})
        expect_same<law::Recomputed<mp::AuxiliaryLoss>, mp::AuxiliaryLoss>({.layout = layout, .receive_rows = rows});
}

TEST_CASE("any number of workers, every instruction set") {
  const auto best = mp::cpu::instruction_set();
  for (const Index workers : {1, 2, 3, 7})
    for (const auto set :
         {mp::cpu::InstructionSet::portable, mp::cpu::InstructionSet::avx2, mp::cpu::InstructionSet::avx512}) {
      if (set > best) continue;
      mp::cpu::use_instruction_set(set);
      CAPTURE(mp::cpu::name_of(set));
      expect_same<law::Model<mp::AuxiliaryLoss>, mp::AuxiliaryLoss>({.workers = workers});
      expect_same<law::Model<mp::AuxiliaryLoss>, mp::AuxiliaryLoss>(
          {.layout = {.world = 2, .expert = 2}, .workers = workers});
    }
  mp::cpu::use_instruction_set(best);
}

TEST_CASE("memory that nobody wrote is never read") {
  for (const Index world : {1, 4, 6})
    for (const mp::Layout& layout : law::layouts_of(world))
      expect_same<law::Model<mp::AuxiliaryLoss>, mp::AuxiliaryLoss>({.layout = layout, .poison = true});
}

TEST_CASE("a batch of one repeated token; all scores equal") {
  for (const double initial : {0.3, 0.0}) {
    const Bits one_rank = law::train<law::Model<mp::AuxiliaryLoss>>({.initial = initial, .one_token = true});
    for (const Index world : {2, 3, 8})
      for (const mp::Layout& layout : law::layouts_of(world)) {
        const Setting setting{.layout = layout, .initial = initial, .one_token = true};
        CAPTURE(law::text_of(setting));
        CHECK(law::train<law::Model<mp::AuxiliaryLoss>>(setting) == one_rank);
      }
  }
}

TEST_CASE("a transport that delays and reorders at random") {
  std::uint64_t seed = 1;
  for (const Index world : worlds)
    for (const mp::Layout& layout : law::layouts_of(world))
      for (int run = 0; run < 2; ++run, ++seed) {
        const Setting setting{.layout = layout, .micro_steps = law::batch % (2 * world) == 0 ? 2 : 1};
        CAPTURE(law::text_of(setting));
        CAPTURE(seed);
        mp::SimulatedWorld simulated{world, seed, {.stack_bytes = std::size_t{1} << 20}};
        CHECK(law::train<law::Model<mp::AuxiliaryLoss>>(simulated, setting) == expected<mp::AuxiliaryLoss>());
      }
}

TEST_CASE("a policy over the whole batch, on a rank that has no others") {
  // RoundSinkhorn looks at the whole batch: here that is what the rank has.
  mp::RoutePlan<float> plan{};
  constexpr mp::StepShape shape{.sequences = 2, .length = 5};
  constexpr mp::Binding routers{.routers = {.layers = 1, .experts = 4}};
  const auto route = [](auto& rank, const float* logits, mp::RoutePlan<float>& made) {
    mp::Router<mp::RoundSinkhorn, 2>::route(rank, mp::Matrix<const float>{logits, 10, 4}, made);
  };
  const auto bytes = mp::cost_of(mp::Layout{}, 0, shape, routers, [&](auto& rank) {
                       rank.begin_micro_step(0, nullptr);
                       route(rank, nullptr, plan);
                     }).arenas;
  float logits[40];
  for (Index i = 0; i < 40; ++i) logits[i] = static_cast<float>(i * i % 7);
  mp::SingleRank<float> rank{routers, shape, bytes};
  route(rank, logits, plan);
  Index rows = 0;
  for (Index e = 0; e < 4; ++e) rows += plan.counts[e] + plan.counts[4 + e];
  CHECK(rows == 20);
}

TEST_CASE("a policy over the whole batch needs one micro-step, and says so") {
  CHECK_THROWS_WITH_AS(law::train<law::Model<mp::RoundSinkhorn>>({.micro_steps = 2}),
                       doctest::Contains("needs a step of one micro-step, this one has 2"), mp::Error);
  CHECK_THROWS_WITH_AS(law::train<law::Model<mp::RoundAuxiliaryLoss>>({.micro_steps = 3}),
                       doctest::Contains("needs a step of one micro-step, this one has 3"), mp::Error);
}
