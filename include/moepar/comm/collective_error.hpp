// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/comm/call.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <string>
#include <utility>
#include <vector>

namespace moepar {

//! Why a collective call did not happen. Every rank of the world gets one, whichever rank was at fault.
class CollectiveError : public Error {
 public:
  enum class Reason {
    rank_left,  //!< a rank threw or returned while others still needed it
    deadline,   //!< a rank did not come in time
    mismatch,   //!< the members of a group made different calls
  };

  CollectiveError(Reason reason, const std::string& what, Call call, std::vector<Index> suspects)
      : Error{what}, reason_{reason}, call_{call}, suspects_{std::move(suspects)} {}

  [[nodiscard]] Reason reason() const noexcept { return reason_; }
  //! The call this rank was in.
  [[nodiscard]] const Call& call() const noexcept { return call_; }
  //! World ranks at fault, ascending.
  [[nodiscard]] const std::vector<Index>& suspects() const noexcept { return suspects_; }

 private:
  Reason reason_;
  Call call_;
  std::vector<Index> suspects_;
};

}  // namespace moepar
