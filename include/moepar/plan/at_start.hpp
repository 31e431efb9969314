// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <array>
#include <cstddef>
#include <moepar/core/checks.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/plan/deployment.hpp>
#include <source_location>
#include <string>

// What only the run knows: the world a launcher made, a degree from a flag.
namespace moepar {

//! Throws Error unless the launcher started exactly the ranks that Job was compiled for.
template <class Job>
void check_launched_world(Index launched_ranks, std::source_location where = std::source_location::current()) {
  check_launched_ranks_are_world_size(launched_ranks, Job::layout.world, where);
}

namespace detail {

struct DegreeList {
  std::array<Index, 64> value{};
  std::size_t count = 0;

  constexpr void add(Index degree) {
    if (count == value.size()) throw Error{"moepar: more than 64 legal expert degrees. Fix: use a smaller world."};
    value[count++] = degree;
  }
  [[nodiscard]] std::string text() const {
    std::string text;
    for (std::size_t i = 0; i < count; ++i) text += (i == 0 ? "" : ", ") + std::to_string(value[i]);
    return text;
  }
};

//! Expert degrees that the expert count, the world and the shard degrees of a model allow. Where none is, 1 stands in
//! the list: its Deployment then breaks a rule, and the compiler says which.
constexpr DegreeList legal_expert_degrees(const Census& census, Index world_size) {
  DegreeList legal;
  for (Index degree = 1; degree <= std::min(census.expert_count, world_size); ++degree) {
    if (!divides(degree, census.expert_count)) continue;
    const Degrees degrees{
        .expert = degree, .shard = census.dense_shard.first, .expert_shard = census.expert_shard.first};
    if (layout_of(degrees, world_size).legal()) legal.add(degree);
  }
  if (legal.count == 0) legal.add(1);
  return legal;
}

template <template <Index> class ModelWith, class World> struct ExpertDegreeChoice {
  static constexpr DegreeList legal = [] {
    if constexpr (world<World>)
      return legal_expert_degrees(census_of<ModelWith<1>>(), World::size);
    else
      return legal_expert_degrees({}, 1);  // its Deployment says what is wrong
  }();

  template <std::size_t I, class Body> static auto run(Index degree, Body& body, std::source_location where) {
    if (degree == legal.value[I]) return body.template operator()<Deployment<ModelWith<legal.value[I]>, World>>();
    if constexpr (I + 1 < legal.count)
      return run<I + 1>(degree, body, where);
    else
      throw Error{"moepar::ExpertParallel: no layout of this model on " +
                      std::to_string(Deployment<ModelWith<legal.value[0]>, World>::layout.world) +
                      " ranks has Degree " + std::to_string(degree) + ". Fix: choose one of " + legal.text() + ".",
                  where};
  }
};

}  // namespace detail

//! Runs `body` for an expert degree that only the run knows. ModelWith<Degree> is the model; the degrees that are legal
//! on World are compiled, and body.template operator()<Deployment<ModelWith<degree>, World>>() is called for the asked
//! one. Returns what body returns. Throws Error that names the legal degrees when `degree` is not among them.
//!
//!   mp::with_expert_degree<Model, mp::World<8>>(degree, [&]<class Job>() { return Job::state().total(); });
template <template <Index> class ModelWith, class World, class Body>
auto with_expert_degree(Index degree, Body&& body, std::source_location where = std::source_location::current()) {
  return detail::ExpertDegreeChoice<ModelWith, World>::template run<0>(degree, body, where);
}

}  // namespace moepar
