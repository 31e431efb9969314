// SPDX-License-Identifier: Apache-2.0
#pragma once

// A main function for one model: reads and writes Hugging Face's files, trains, generates. Needs CLI11, nlohmann/json
// and xxHash.

#include <algorithm>
#include <csignal>
#include <cstdio>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/token_sequences.hpp>
#include <moepar/program/facts.hpp>
#include <moepar/program/load_values.hpp>
#include <moepar/program/options.hpp>
#include <moepar/program/plan.hpp>
#include <moepar/program/train.hpp>
#include <moepar/program/verbs.hpp>
#include <moepar/program/verify.hpp>
#include <moepar/topology/step_shape.hpp>
#include <moepar/train/run.hpp>
#include <moepar/train/trainer.hpp>
#include <optional>
#include <string>

namespace moepar {
namespace program {

//! The data of a verb: a file of JSON lines, or the ids of the command line as one row; none for other verbs.
inline std::optional<TokenSequences> read_data(const ProgramOptions& options, Index vocabulary) {
  if (!options.data.empty()) return TokenSequences{options.data, vocabulary};
  if (options.verb != Verb::logits && options.verb != Verb::generate) return {};
  if (options.ids.empty())
    throw Error{"moepar: there is nothing to compute logits of. Fix: give --ids 1,2,3 or --data FILE."};
  return TokenSequences{options.ids, vocabulary};
}

//! What a step of the verb holds.
inline StepShape shape_of(const ProgramOptions& options, const TokenSequences* data, Index world) {
  const Index length = (data != nullptr ? data->longest() : 1) + (options.verb == Verb::generate ? options.count : 0);
  Index batch = options.batch > 0 ? options.batch : world * options.micro_steps;
  if (options.verb == Verb::gradients) batch = data->size();
  if (options.verb == Verb::export_model) return shape_of_batch(1, 1, world);
  StepShape shape = shape_of_batch(batch, std::max<Index>(length, 1), world, options.micro_steps);
  shape.receive_rows = options.receive_rows;
  return shape;
}

//! One rank of any verb that needs the model.
template <class JobRank>
void run_verb(JobRank& rank, const ProgramOptions& options, const ProgramFacts& facts, const TokenSequences* data) {
  const std::string source = options.verb == Verb::export_model ? options.folder : options.checkpoint;
  const bool random = options.verb == Verb::train && source.empty() && options.resume.empty();
  Trainer trainer{
      rank,
      options.optimizer,
      {.shape = shape_of(options, data, rank.world_size()),
       .seed = options.seed,
       .initial_deviation = facts.initial_deviation,
       .clip = options.clip,
       .numerics = facts.numerics(options.auxiliary_loss_coefficient.value_or(facts.auxiliary_loss_coefficient),
                                  options.z_loss_coefficient),
       .start = random ? Start::random : Start::loaded}};
  if (!source.empty()) load_values(trainer, source, facts);
  switch (options.verb) {
    case Verb::logits:
      return write_logits(trainer, *data, options);
    case Verb::gradients:
      return write_gradients(trainer, *data, options);
    case Verb::evaluate:
      return evaluate(trainer, *data, options);
    case Verb::train:
      return train(trainer, *data, options, facts);
    case Verb::generate:
      return generate(trainer, options, facts.eos);
    case Verb::export_model:
      return export_weights(trainer, options, facts);
    default:
      return;
  }
}

}  // namespace program

//! The main function of a program for the model of Job: parses the command line (--help lists the verbs), runs the verb
//! on the ranks of Job, each a thread, and returns the exit code: 0, 1 after an error, 2 for a wrong command line.
//! Results are one JSON object on the last line of standard output; what people read goes to standard error.
template <class Job> int model_program(int argc, char** argv, const ProgramFacts& facts) {
  try {
    ProgramOptions options = parse_program_options(argc, argv);
    if (options.verb == Verb::generate && options.ids.empty()) options.ids = {facts.bos};
#ifdef SIGXFSZ
    std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is then an error of the write, and is reported
#endif
    if (options.verb == Verb::plan) {
      program::print_plan<Job>(options);
    } else if (options.verb == Verb::verify) {
      return program::verify(options) ? 0 : 1;
    } else {
      const auto data = program::read_data(options, Job::model::facts.vocabulary);
      run_threads<Job>([&](auto& rank) { program::run_verb(rank, options, facts, data ? &*data : nullptr); },
                       {.workers = options.workers});
    }
    return 0;
  } catch (const ProgramExit& exit) {
    return exit.code;
  } catch (const std::exception& error) {
    std::fflush(stdout);
    std::fprintf(stderr, "%s\n", error.what());
  }
  return 1;
}

}  // namespace moepar
