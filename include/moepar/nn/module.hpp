// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <concepts>
#include <moepar/core/predicates.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/topology/facts.hpp>

// What a module is, and the rules about which kind of module may stand where. A module of your own joins with two
// things:
//   static constexpr mp::ModuleFacts facts{.hidden = 64};
//   members(self, walk), the list of its parameters and children (nn/walk.hpp)
namespace moepar {

namespace detail {
using NoVisit = void (*)(const Site&, Parameter&);
}

//! A class that states its facts and lists its members.
template <class M>
concept module_type = requires(M& m, Walk<detail::NoVisit>& walk) {
  { M::facts } -> std::convertible_to<ModuleFacts>;
  M::members(m, walk);
};

//! The facts of a module; none of something else, whose error is reported where it stands.
template <class M> consteval ModuleFacts facts_of() {
  if constexpr (module_type<M>)
    return M::facts;
  else
    return {};
}

//! Whether no child has broken a rule: one that did has reported its own error, and everything around it keeps silent.
template <class... Children> consteval bool children_intact() {
  return ([] {
    if constexpr (requires { Children::valid; })
      return static_cast<bool>(Children::valid);
    else
      return true;
  }() && ...);
}

//! A module with experts inside.
template <class M>
concept holds_experts = module_type<M> && requires { requires M::facts.expert_count >= 1; };

//! A module that mixes the positions of a sequence.
template <class M>
concept attention = module_type<M> && requires { requires M::facts.attends; };

template <class M> consteval bool require_module() {
  static_assert(module_type<M>,
                "moepar: this place takes a module. "
                "Fix: pass one of the library's, or give your own class `facts` and `members`.");
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
