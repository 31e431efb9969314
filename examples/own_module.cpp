// SPDX-License-Identifier: Apache-2.0
// A module of your own: one fact, one list of members, forward and backward that touch the machine through `rank`
// only. It is then wrapped, counted and planned like the library's own, alone and inside a larger model.
//
//   g++ -std=c++20 -O3 -I include examples/own_module.cpp -pthread && ./a.out
#include <cmath>
#include <cstdio>
#include <moepar/moe.hpp>
#include <vector>

namespace mp = moepar;

// A linear layer followed by a SwiGLU.
template <mp::Index Hidden, mp::Index Inner> struct Adapter {
  static constexpr mp::ModuleFacts facts{.hidden = Hidden};

  mp::Linear<Hidden, Hidden> input{};
  mp::SwiGlu<Hidden, Inner> feed_forward{};

  template <class Self, class Walker> static constexpr void members(Self& self, Walker& walk) {
    walk("input", self.input);
    walk("feed_forward", self.feed_forward);
  }

  template <class Element> struct Record {
    mp::Matrix<Element> between{};
    typename mp::Linear<Hidden, Hidden>::template Record<Element> input{};
    typename mp::SwiGlu<Hidden, Inner>::template Record<Element> feed_forward{};
  };

  template <class Rank, class Element = typename Rank::Element>
  constexpr void forward(Rank& rank, mp::ConstMatrix<Element> in, mp::Matrix<Element> out,
                         Record<Element>& record) const {
    record.between = rank.arena().template take<Element>(in.rows, Hidden);
    input.forward(rank, in, record.between, record.input);
    feed_forward.forward(rank, record.between, out, record.feed_forward);
  }

  template <class Rank, class Element = typename Rank::Element>
  constexpr void backward(Rank& rank, mp::ConstMatrix<Element> out_gradient, mp::Matrix<Element> in_gradient,
                          const Record<Element>& record) const {
    const mp::Index mark = rank.arena().mark();
    const auto between = rank.arena().template take<Element>(out_gradient.rows, Hidden);
    feed_forward.backward(rank, out_gradient, between, record.feed_forward);
    input.backward(rank, between, in_gradient, record.input);
    rank.arena().release(mark);
  }
};

// Sharded over four ranks, or as the experts of a layer: no word about either in Adapter.
struct Sharded : mp::HybridShard<Adapter<64, 256>, 4> {};
struct Experts : mp::ExpertParallel<mp::Experts<Adapter<64, 256>, 6>, 3> {};
struct Layer : mp::Moe<mp::Router<mp::TopKSoftmax, 2>, Experts> {};

constexpr mp::Index rows = 10;
using Alone = Adapter<64, 256>;
static_assert(mp::cost_of_pass<Alone>(rows).arenas.activations < 100'000);  // forward and backward, run by the compiler

int main() {
  const auto whole = mp::Deployment<Sharded, mp::World<4>>::parameters().total();
  const auto shard = mp::Deployment<Sharded, mp::World<4>>::parameters_of_rank().total();
  const auto experts = mp::Deployment<Layer, mp::World<6>>::parameters_of_rank().expert;
  std::printf("Adapter: %lld parameters; sharded over 4 ranks: %lld on one; 6 as experts over 3 ranks: %lld on one\n",
              static_cast<long long>(whole), static_cast<long long>(shard), static_cast<long long>(experts));

  // Now really: one rank, its memory as large as the plan says, values by name.
  Alone adapter{};
  const auto planned = mp::cost_of_pass<Alone>(rows).arenas;
  mp::SingleRank<float> rank{adapter, {.sequences = 1, .length = rows}, planned};
  mp::for_each_parameter(adapter, [&](const mp::Site& site, const mp::Parameter& parameter) {
    const auto key = mp::random_key(/*seed=*/1, site.name());
    mp::fill_normal(rank.kept(parameter), key, /*step=*/0, /*first=*/0, /*mean=*/0.0, /*standard_deviation=*/0.1);
  });
  std::vector<float> in(rows * 64, 1.0f), out(in.size()), in_gradient(in.size());
  const auto matrix = [](std::vector<float>& values) { return mp::Matrix<float>{values.data(), rows, 64}; };
  Alone::Record<float> record{};
  adapter.forward(rank, matrix(in), matrix(out), record);
  rank.with_gradients(adapter, [&] {  // of half the sum of squares of the output
    adapter.backward(rank, matrix(out), matrix(in_gradient), record);
  });

  double squares = 0;
  mp::for_each_parameter(adapter, [&](const mp::Site&, const mp::Parameter& parameter) {
    for (const float value : rank.kept_gradient(parameter)) squares = std::fma(double{value}, double{value}, squares);
  });
  const auto used = mp::high_water(rank).activations;
  std::printf("A pass over %lld rows: %lld bytes of arena, planned %lld; gradient norm %.6f\n",
              static_cast<long long>(rows), static_cast<long long>(used), static_cast<long long>(planned.activations),
              std::sqrt(squares));
  return used == planned.activations ? 0 : 1;
}
