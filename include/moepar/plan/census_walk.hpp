// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <concepts>
#include <moepar/core/index.hpp>
#include <moepar/nn/module.hpp>
#include <moepar/plan/census.hpp>
#include <moepar/tensor/parameter.hpp>
#include <type_traits>

namespace moepar {

template <class Member> consteval bool require_listed_member() {
  static_assert(std::same_as<Member, Parameter> || module_type<Member>,
                "moepar: a member that is listed must be a parameter or a module. "
                "Fix: list its own parameters, or give its class `facts` and `members`.");
  return std::same_as<Member, Parameter> || module_type<Member>;
}

//! A census in the making: what was counted, and what the wrappers around the place of the walk say.
struct CensusInProgress {
  struct At {
    Kind kind = Kind::dense;
    Index copies = 1, top_k = 0;
    Index expert_degree = 1, dense_shard = 1, expert_shard = 1;
    Index experts_deep = 0, sharded_deep = 0, spread_deep = 0;
    bool recomputed = false;
  };
  Census census{};
  At at{};
  Index repeats = 1;
};

//! The walker that takes a census: the functions of Walk (nn/walk.hpp), without names. Of modules that are all alike it
//! visits one and counts it often, so that a constant expression costs the same for 4 and for 4,000 layers. It passes
//! over what is no module, after the compiler has said so.
//! Quiet: inside a module that has broken a rule and said so.
template <bool Quiet = false> class CensusWalk {
 public:
  constexpr explicit CensusWalk(CensusInProgress& taken) : taken_{taken} {}

  template <class Member> constexpr void operator()(const char*, Member& member) { through(member); }

  template <class Member> constexpr void through(Member& member) {
    using Plain = std::remove_const_t<Member>;
    if constexpr (std::same_as<Plain, Parameter>) {
      count(member);
    } else if constexpr (!children_intact<Plain>()) {
      taken_.census.intact = false;
      CensusWalk<true> quiet{taken_};
      if constexpr (module_type<Plain>) Plain::members(member, quiet);
    } else if constexpr (module_type<Plain>) {
      Plain::members(member, *this);
    } else {
      taken_.census.intact = false;
      if constexpr (!Quiet) (void)require_listed_member<Plain>();
    }
  }

  template <class Array> constexpr void each(const char*, Array& array) {
    const Index outside = taken_.repeats;
    taken_.repeats *= static_cast<Index>(array.size());
    if (array.size() > 0) through(array[0]);
    taken_.repeats = outside;
  }

  template <class Member> constexpr void stacked(const char*, Index copies, Member& member) {
    const auto outside = taken_.at;
    taken_.at.kind = Kind::expert;
    taken_.at.copies = copies;
    taken_.census.experts_deep = std::max(taken_.census.experts_deep, ++taken_.at.experts_deep);
    through(member);
    taken_.at = outside;
  }

  template <class Member> constexpr void routed(Index top_k, Index columns, Member& member) {
    const auto outside = taken_.at;
    taken_.at.top_k = top_k;
    taken_.census.routed_columns += taken_.repeats * top_k * columns;
    if (taken_.at.recomputed) taken_.census.recomputed_columns += taken_.repeats * top_k * columns;
    through(member);
    taken_.at = outside;
  }

  template <class Member> constexpr void sharded(Index dense_degree, Index expert_degree, Member& member) {
    const auto outside = taken_.at;
    taken_.at.dense_shard = dense_degree;
    taken_.at.expert_shard = expert_degree;
    taken_.census.sharded_deep = std::max(taken_.census.sharded_deep, ++taken_.at.sharded_deep);
    through(member);
    taken_.at = outside;
  }

  template <class Member> constexpr void spread(Index degree, Member& member) {
    const auto outside = taken_.at;
    taken_.at.expert_degree = degree;
    taken_.census.spread_deep = std::max(taken_.census.spread_deep, ++taken_.at.spread_deep);
    through(member);
    taken_.at = outside;
  }

  template <class Member> constexpr void recomputed(Member& member) {
    const auto outside = taken_.at;
    taken_.at.recomputed = true;
    through(member);
    taken_.at = outside;
  }

  constexpr void tied(const char*, const Parameter& member, const Parameter&) { count(member, true); }

 private:
  constexpr void count(const Parameter& parameter, bool tied = false) {
    const bool expert = taken_.at.kind == Kind::expert, sharded = taken_.at.sharded_deep > 0;
    taken_.census.add({.kind = taken_.at.kind,
                       .sharded = sharded,
                       .elements = parameter.size(),
                       .copies = taken_.at.copies,
                       .active = expert && taken_.at.top_k != 0 ? taken_.at.top_k : taken_.at.copies,
                       .count = taken_.repeats,
                       .tied = tied});
    if (expert) taken_.census.met_experts(taken_.at.copies, taken_.at.expert_degree);
    if (sharded)
      (expert ? taken_.census.expert_shard : taken_.census.dense_shard)
          .meet(expert ? taken_.at.expert_shard : taken_.at.dense_shard);
  }

  CensusInProgress& taken_;
};

//! The census of a model type: one walk over its parameters.
template <class Model> constexpr Census census_of() {
  const Model model{};
  CensusInProgress taken;
  CensusWalk<> walk{taken};
  walk.through(model);
  return taken.census;
}

}  // namespace moepar
