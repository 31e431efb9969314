// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <string_view>

#include <moepar/core/index.hpp>
#include <moepar/plan/census.hpp>
#include <moepar/plan/census_walk.hpp>
#include <moepar/train/step_report.hpp>

namespace moepar {

//! What identifies a run: enough, with the text and the commit, to repeat it. Texts are not owned.
struct RunFacts {
  std::string_view model{};   //!< its name
  std::string_view layout{};  //!< "4 ranks: expert degree 2, shard degree 2"
  std::string_view precision{};
  std::string_view data{};   //!< the text's name
  std::string_view build{};  //!< version or commit, compiler and flags
  Index parameters = 0;
  Index active_parameters = 0;  //!< used by a token
  Index world = 1;              //!< ranks
  Index layers = 0;             //!< that have experts
  Index experts = 0;            //!< of a layer
  Index top_k = 0;
  Index vocabulary = 0;
  Index length = 0;  //!< tokens of a sequence
  Index batch = 0;   //!< sequences of a step, over all ranks
  Index total_steps = 0;
  std::uint64_t seed = 0;
  double unigram_entropy = not_measured;  //!< nats; a loss below it has learnt from context
};

//! What a trainer says of its run by itself; who starts the run adds names, data and steps. layout: layout_text.
template <class Trainer> RunFacts run_facts_of(Trainer& trainer, std::string_view layout) {
  const ParameterCount count = census_of<typename Trainer::Model>().parameters();
  RunFacts facts;
  facts.layout = layout;
  facts.precision = "f32";
  facts.parameters = count.total();
  facts.active_parameters = count.active;
  facts.world = trainer.rank().layout().world;
  facts.layers = trainer.routers().layers;
  facts.experts = trainer.routers().experts;
  facts.vocabulary = Trainer::Model::facts.vocabulary;
  facts.length = trainer.options().shape.length;
  facts.seed = trainer.options().seed;
  return facts;
}

}  // namespace moepar
