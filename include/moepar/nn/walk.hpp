// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <concepts>
#include <moepar/core/index.hpp>
#include <moepar/nn/path.hpp>
#include <moepar/tensor/parameter.hpp>
#include <type_traits>

namespace moepar {

//! What a walk visits: parameters; or all uses of them, those of tied ones too.
enum class Walked { parameters, uses };

//! Visits every parameter of a module in the order of its list. A module lists its members once:
//!
//!   template <class Self, class Walker>
//!   static constexpr void members(Self& self, Walker& walk) {
//!     walk("weight", self.weight);   // a Parameter
//!     walk("norm", self.norm);       // a child module
//!   }
//!
//! Initialisation, checkpoint names, optimizer, plan and gradient reduction all go over this one list. `Self` is const
//! for a const module. Visitor: called as visit(const Site&, Parameter&), in constant expressions or not. The plan uses
//! another walker with the same functions (plan/census_walk.hpp).
template <class Visitor, Walked Uses = Walked::parameters> class Walk {
 public:
  constexpr explicit Walk(Visitor& visit) : visit_{visit} {}

  //! A member with a name of its own.
  template <class Member> constexpr void operator()(const char* name, Member& member) {
    site_.path.push(name);
    through(member);
    site_.path.pop();
  }

  //! A member that adds nothing to the name: what a wrapper wraps.
  template <class Member> constexpr void through(Member& member) {
    if constexpr (std::same_as<std::remove_const_t<Member>, Parameter>)
      visit_(static_cast<const Site&>(site_), member);
    else
      Member::members(member, *this);
  }

  //! An array of modules that are all alike, named name.0, name.1, ...
  template <class Array> constexpr void each(const char* name, Array& array) {
    site_.path.push(name);
    Index index = 0;
    for (auto& member : array) {
      site_.path.push(index++);
      through(member);
      site_.path.pop();
    }
    site_.path.pop();
  }

  //! One module that stands for `copies` experts: each of its parameters is a stack of them.
  template <class Member> constexpr void stacked(const char* name, Index copies, Member& member) {
    const Site outside = site_;
    site_.path.push(name);
    site_.kind = Kind::expert;
    site_.copies = copies;
    site_.copies_at = site_.path.depth();
    through(member);
    site_ = outside;
  }

  //! A member behind a router: of the experts inside, a token uses top_k, and sends each a row of `columns` elements.
  template <class Member> constexpr void routed(Index top_k, Index /*columns*/, Member& member) {
    const Index outside_top_k = site_.top_k, outside_layer = site_.routed_layer;
    site_.top_k = top_k;
    site_.routed_layer = ++routed_layers_;
    through(member);
    site_.top_k = outside_top_k;
    site_.routed_layer = outside_layer;
  }

  //! A member whose parameters are sharded; degrees as in HybridShard.
  template <class Member> constexpr void sharded(Index /*dense_degree*/, Index /*expert_degree*/, Member& member) {
    const bool outside = site_.sharded;
    site_.sharded = true;
    through(member);
    site_.sharded = outside;
  }

  //! A member whose experts are spread over `degree` ranks.
  template <class Member> constexpr void spread(Index /*degree*/, Member& member) { through(member); }

  //! A member whose forward pass runs again in backward.
  template <class Member> constexpr void recomputed(Member& member) { through(member); }

  //! A second use of the values of `source`, which was listed before and has the same shape. It has a gradient of its
  //! own, summed over the batch like any other and then added to that of `source`.
  constexpr void tied(const char* name, Parameter& member, const Parameter& source) { use(name, member, source); }
  constexpr void tied(const char* name, const Parameter& member, const Parameter& source) { use(name, member, source); }

 private:
  template <class Member> constexpr void use(const char* name, Member& member, const Parameter& source) {
    if constexpr (Uses == Walked::uses) {
      site_.path.push(name);
      site_.tied = &source;
      visit_(static_cast<const Site&>(site_), member);
      site_.tied = nullptr;
      site_.path.pop();
    }
  }

  Visitor& visit_;
  Site site_{};
  Index routed_layers_ = 0;
};

//! Calls visit(const Site&, Parameter&) for every parameter of `module_`, in registration order.
template <class Module, class Visitor> constexpr void for_each_parameter(Module& module_, Visitor&& visit) {
  Walk<std::remove_reference_t<Visitor>> walk{visit};
  walk.through(module_);
}

//! The same, and every further use of a tied parameter (Site::tied): whoever places values and gradients needs them.
template <class Module, class Visitor> constexpr void for_each_use(Module& module_, Visitor&& visit) {
  Walk<std::remove_reference_t<Visitor>, Walked::uses> walk{visit};
  walk.through(module_);
}

}  // namespace moepar
