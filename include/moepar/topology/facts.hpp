// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/core/index.hpp>

namespace moepar {

//! Values of ModuleFacts::hidden that are no width.
inline constexpr Index any_width = 0;       //!< rows of any width, which stays as it is
inline constexpr Index changes_width = -1;  //!< rows come out with another width than they went in

//! What a module tells the modules around it. Everything else about a model (degrees, sharding, sizes) is read off the
//! walk over its members, so a module of your own states these and nothing more: usually only `hidden`.
struct ModuleFacts {
  Index hidden = any_width;  //!< width of its input and output rows
  bool attends = false;      //!< mixes the positions of a sequence (an attention)
  bool routes = false;       //!< sends each token to some of its experts (a mixture of experts)
  Index expert_count = 0;    //!< of a layer of experts; 0: it is none
  Index vocabulary = 0;      //!< of a language model: tokens that it tells apart

  friend constexpr bool operator==(const ModuleFacts&, const ModuleFacts&) = default;
};

}  // namespace moepar
