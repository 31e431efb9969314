// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <array>
#include <cstddef>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/tensor/parameter.hpp>
#include <moepar/topology/layout.hpp>
#include <string>

namespace moepar {

//! Place of a member in its model, as parts: texts and numbers. Parts, not characters, because a constant expression
//! that walks a model of hundreds of layers would otherwise exceed the compilers' limits.
class Path {
 public:
  static constexpr std::size_t max_depth = 24;

  struct Part {
    const char* text = nullptr;  //!< nullptr: the part is `number`
    Index number = 0;
  };

  constexpr void push(const char* text) { push(Part{.text = text}); }
  constexpr void push(Index number) { push(Part{.number = number}); }
  constexpr void pop() { --depth_; }

  [[nodiscard]] constexpr std::size_t depth() const { return depth_; }
  [[nodiscard]] constexpr const Part& operator[](std::size_t index) const { return parts_[index]; }

 private:
  constexpr void push(Part part) {
    if (depth_ == max_depth) throw Error{"moepar::Path: a model is nested more than 24 names deep. Fix: flatten it."};
    parts_[depth_++] = part;
  }

  std::array<Part, max_depth> parts_{};
  std::size_t depth_ = 0;
};

//! What a walk knows about the parameter it visits, besides its shape.
struct Site {
  Path path{};
  Kind kind = Kind::dense;
  bool sharded = false;             //!< inside a HybridShard
  Index copies = 1;                 //!< equal tensors along a leading axis: the experts of a layer
  Index top_k = 0;                  //!< experts a token is sent to by the router outside; 0: there is none
  Index routed_layer = 0;           //!< of that router, counted from 1 in the order of the walk; 0: there is none
  std::size_t copies_at = 0;        //!< depth of the path at which the number of the copy is spelled
  const Parameter* tied = nullptr;  //!< the parameter whose values are used here again; nullptr: it has its own

  //! Copies that one token uses: all of them without a router.
  [[nodiscard]] constexpr Index active() const { return kind == Kind::expert && top_k != 0 ? top_k : copies; }

  //! The global name, e.g. "model.layers.0.block_sparse_moe.experts.3.w1.weight" for copy 3.
  [[nodiscard]] std::string name(Index copy = 0) const {
    std::string text;
    const auto append = [&](const std::string& part) { text += (text.empty() ? "" : ".") + part; };
    for (std::size_t i = 0; i < path.depth(); ++i) {
      append(path[i].text != nullptr ? std::string{path[i].text} : std::to_string(path[i].number));
      if (copies_at == i + 1) append(std::to_string(copy));
    }
    return text;
  }
};

}  // namespace moepar
