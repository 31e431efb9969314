// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <concepts>
#include <moepar/core/predicates.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/topology/facts.hpp>
#include <type_traits>

// What a module is, and the rules about which kind of module may stand where. A module of your own joins with two
// things:
//   static constexpr mp::ModuleFacts facts{.hidden = 64};
//   members(self, walk), the list of its parameters and children (nn/walk.hpp)
// Children may be anything that is a module; what is wrapped inside them is found by the walk.
namespace moepar {

namespace detail {
using NoVisit = void (*)(const Site&, Parameter&);
}

//! A class that states its facts as a constant, lists its members, and can be made without arguments.
template <class M>
concept module_type = std::is_class_v<M> && requires {
  M{};  // not std::default_initializable, which instantiates sixteen classes a module
  { M::facts } -> std::convertible_to<ModuleFacts>;
  requires !std::is_member_object_pointer_v<decltype(&M::facts)>;
} && requires(M& m, const M& constant, Walk<detail::NoVisit>& walk) {
  typename std::integral_constant<Index, ModuleFacts{M::facts}.hidden>;
  M::members(m, walk);
  M::members(constant, walk);
};

//! The facts of a module; none of something else, whose error is reported where it stands.
template <class M> consteval ModuleFacts facts_of() {
  if constexpr (module_type<M>)
    return M::facts;
  else
    return {};
}

//! Whether no child has broken a rule. One that did has reported its own error, states `rules_hold` as false, and
//! everything around it keeps silent. A class without `rules_hold` has no rules of its own.
template <class... Children> consteval bool children_intact() {
  return ([] {
    if constexpr (requires { typename std::bool_constant<Children::rules_hold>; })
      return Children::rules_hold;
    else
      return true;
  }() && ...);
}

//! Whether M has forward and backward, and everything inside it. A module that only passes on what its children do says
//! so by a constant `computes_inside`; a module of your own with a Record and the two functions need not.
template <class M> consteval bool computes() {
  if constexpr (!module_type<M>)
    return false;
  else if constexpr (requires { typename std::bool_constant<M::computes_inside>; })
    return M::computes_inside;
  else
    return requires { typename M::template Record<float>; };
}

namespace detail {
//! A module that gathers its parameters part by part while it runs; others are gathered whole by what is around them.
template <class Module>
concept gathers_by_part = requires { requires Module::gathers_by_part; };
}  // namespace detail

//! Stands for the record of a module that has no forward.
struct NoRecord {};

namespace detail {
template <class M, class Element> struct RecordOf {
  using type = NoRecord;
};
template <class M, class Element>
  requires requires { typename M::template Record<Element>; }
struct RecordOf<M, Element> {
  using type = typename M::template Record<Element>;
};
}  // namespace detail

//! What M's forward keeps for its backward.
template <class M, class Element> using RecordOf = typename detail::RecordOf<M, Element>::type;

//! A layer of experts, or a wrapper of one.
template <class M>
concept holds_experts = module_type<M> && requires { requires M::facts.expert_count >= 1; };

//! A module that mixes the positions of a sequence.
template <class M>
concept attention = module_type<M> && requires { requires M::facts.attends; };

template <class M> consteval bool require_module() {
  static_assert(
      module_type<M>,
      "moepar: this place takes a module. Fix: pass one of the library's, or give your own class a constant `facts`, "
      "a template `members` and a default constructor.");
  return module_type<M>;
}

template <class M> consteval bool require_experts() {
  static_assert(holds_experts<M>,
                "moepar: this place takes experts. Fix: pass Experts<Expert, Count>, or a wrapper of it.");
  return holds_experts<M>;
}

template <class M> consteval bool require_attention() {
  static_assert(attention<M>,
                "moepar::TransformerBlock: the first argument is the attention. "
                "Fix: write TransformerBlock<Attention<...>, FeedForward>.");
  return attention<M>;
}

}  // namespace moepar
