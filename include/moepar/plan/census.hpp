// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/topology/layout.hpp>
#include <numeric>

namespace moepar {

//! Numbers of parameters. active: those that one token uses (of the experts of a layer, TopK).
struct ParameterCount {
  Index dense = 0;
  Index expert = 0;
  Index active = 0;
  [[nodiscard]] constexpr Index total() const { return dense + expert; }
  friend constexpr bool operator==(const ParameterCount&, const ParameterCount&) = default;
};

//! A degree that all parameters of one kind should share: the first one met, and another if there is one.
struct MetDegree {
  Index first = 1;
  Index second = 1;
  bool any = false;

  constexpr void meet(Index degree) {
    if (!any) first = second = degree;
    any = true;
    if (first == second) second = degree;
  }
};

//! The parameters of a model as a short list of distinct shapes: what the arithmetic of a plan needs, whether the model
//! is a type or a set of numbers that only the run knows.
class Census {
 public:
  static constexpr std::size_t capacity = 64;

  struct Entry {
    Kind kind = Kind::dense;
    bool sharded = false;
    Index elements = 0;  //!< of one tensor
    Index copies = 1;    //!< tensors behind one another: the experts of a layer
    Index active = 1;    //!< copies that one token uses
    Index count = 0;     //!< parameters of the model that look so
    bool tied = false;   //!< a further use of another one's values, with values and gradients, but no parameter

    [[nodiscard]] constexpr bool same_shape(const Entry& other) const {
      return kind == other.kind && sharded == other.sharded && elements == other.elements && copies == other.copies &&
             active == other.active && tied == other.tied;
    }
  };

  constexpr void add(const Entry& entry) {
    for (std::size_t i = 0; i < size_; ++i) {
      if (entries_[i].same_shape(entry)) {
        entries_[i].count += entry.count;
        return;
      }
    }
    if (size_ == capacity)
      throw Error{"moepar::Census: a model has more than 64 distinct parameter shapes. Fix: plan it in parts."};
    entries_[size_++] = entry;
  }

  [[nodiscard]] constexpr const Entry* begin() const { return entries_.data(); }
  [[nodiscard]] constexpr const Entry* end() const { return entries_.data() + size_; }

  bool intact = true;  //!< no module inside has broken a rule

  MetDegree expert_degree{};                //!< of ExpertParallel around experts, 1 without
  MetDegree dense_shard{}, expert_shard{};  //!< of HybridShard around parameters of each kind, as written
  Index experts_deep = 0, sharded_deep = 0, spread_deep = 0;  //!< most Experts, HybridShard, ExpertParallel around one

  Index expert_count = 0;        //!< of the layers of experts; of several counts their greatest common divisor
  Index routed_columns = 0;      //!< elements that a token sends to experts, one way, over all layers
  Index recomputed_columns = 0;  //!< the part of them whose layers are computed again in backward

  constexpr void met_experts(Index count, Index degree) {
    expert_count = std::gcd(expert_count, count);
    expert_degree.meet(degree);
  }

  [[nodiscard]] constexpr ParameterCount parameters() const {
    ParameterCount sum;
    for (const Entry& entry : *this) {
      if (entry.tied) continue;
      (entry.kind == Kind::expert ? sum.expert : sum.dense) += entry.count * entry.copies * entry.elements;
      sum.active += entry.count * entry.active * entry.elements;
    }
    return sum;
  }

 private:
  std::array<Entry, capacity> entries_{};
  std::size_t size_ = 0;
};

}  // namespace moepar
