// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <moepar/optim/adam_w.hpp>
#include <moepar/optim/parameter_list.hpp>
#include <vector>

namespace moepar {

//! What a checkpoint of a training holds, on one rank; nothing is owned. All ranks make one, of the same model.
//!
//!   mp::TrainingState{rank, model, parameters, optimizer}
template <class RankType, class ModelType> struct TrainingState {
  using Rank = RankType;
  using Model = ModelType;

  Rank& rank;          //!< HostRank<float, ...>
  const Model& model;  //!< bound to `rank`
  const std::vector<ListedParameter>& parameters;
  AdamWState& optimizer;
};

template <class Rank, class Model>
TrainingState(Rank&, const Model&, const std::vector<ListedParameter>&, AdamWState&) -> TrainingState<Rank, Model>;

}  // namespace moepar
