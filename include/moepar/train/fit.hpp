// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdio>
#include <moepar/core/error.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/token_blocks.hpp>
#include <moepar/data/unigram.hpp>
#include <moepar/train/learning_rate.hpp>
#include <moepar/train/metrics.hpp>
#include <moepar/train/plan_text.hpp>
#include <moepar/train/progress_line.hpp>
#include <moepar/train/run_facts.hpp>
#include <moepar/train/step_report.hpp>
#include <moepar/train/step_reporter.hpp>
#include <moepar/train/terminal.hpp>
#include <moepar/train/trainer.hpp>
#include <optional>
#include <string>

namespace moepar {

struct FitOptions {
  Index steps = 100;
  Index print_every = 1;         //!< steps between two lines; the first and those that evaluate always have one
  Index evaluate_every = 0;      //!< steps; 0: at the end only
  Index evaluation_blocks = 64;  //!< most blocks of an evaluation
  MetricsMode metrics_mode = MetricsMode::create;
  std::string metrics{};        //!< path of a metrics file; empty: none
  std::string model = "model";  //!< its name in metrics
  std::string data = "text";    //!< the text's name in metrics
  double seconds = 0;           //!< stop after the first step that ends later than this; 0: no limit
};

//! What a fit ended with.
struct FitOutcome {
  Index steps = 0;
  double loss = not_measured;             //!< of the last step
  double evaluation_loss = not_measured;  //!< after it
  double unigram_entropy = not_measured;  //!< of the evaluation text by the training text's frequencies
};

//! The sequences of step `step` of blocks, for Trainer::step.
inline auto batch_of(const TokenBlocks& blocks, Index step) {
  return [&blocks, step](Index index) {
    const Index block = blocks.sequence(step, index);
    return Sequence{blocks.inputs(block), blocks.targets(block)};
  };
}
//! The evaluation blocks, for Trainer::evaluate.
inline auto evaluation_of(const TokenBlocks& blocks) {
  return [&blocks](Index index) {
    const Index block = blocks.evaluation(index);
    return Sequence{blocks.inputs(block), blocks.targets(block)};
  };
}

//! Trains on blocks of text, called by all ranks. Rank 0 prints the plan, a line a step and what it ended with, and
//! writes the metrics. schedule: what gives the learning rate of a step (train/learning_rate.hpp).
template <class Model, class Communicator, learning_rate_schedule Schedule>
FitOutcome fit(Trainer<Model, Communicator>& trainer, const TokenBlocks& blocks, const Schedule& schedule,
               const FitOptions& options) {
  if (options.steps < 0 || blocks.batch() != trainer.sequences() || blocks.length() > trainer.options().shape.length)
    throw Error{"moepar::fit: " + std::to_string(options.steps) + " steps with blocks of " +
                std::to_string(blocks.batch()) + " sequences of " + std::to_string(blocks.length()) +
                " tokens, the trainer takes " + std::to_string(trainer.sequences()) + " of at most " +
                std::to_string(trainer.options().shape.length) +
                ". Fix: make the blocks with .batch = trainer.sequences() and .length = shape.length."};
  std::uint64_t text = mix(static_cast<std::uint64_t>(options.steps));
  for (const std::int32_t token : blocks.training_targets()) text = mix(text + static_cast<std::uint32_t>(token));
  trainer.require_same(text, "text, or another number of steps,");
  const auto& shape = trainer.options().shape;
  const Layout& layout = trainer.rank().layout();
  const bool prints = trainer.rank().rank() == 0;

  FitOutcome outcome{.unigram_entropy = unigram_cross_entropy(blocks.training_targets(), blocks.evaluation_targets(),
                                                              Model::facts.vocabulary)};
  std::optional<MetricsFile> metrics;
  ProgressLine progress{{.terminal = terminal_of(stdout), .reference_loss = outcome.unigram_entropy}};
  const std::string layout_name = layout_text(layout);
  std::optional<StepReporter<Trainer<Model, Communicator>>> reporter;
  if (prints) {
    reporter.emplace(trainer, 0, options.steps);
    const Index workers = trainer.rank().device().workers().count();
    std::fputs(plan_text<Model>(layout, shape, 0, workers).c_str(), stdout);
    if (reporter->peak() > 0)
      std::printf(
          "expected    about %s for %lld steps at 30 %% of the measured peak of %.0f GFLOP/s\n",
          human_duration(reporter->flops() / (0.3 * reporter->peak()) * static_cast<double>(options.steps)).c_str(),
          static_cast<long long>(options.steps), reporter->peak() * 1e-9);
    std::printf("unigram     %.4f nats a token: what frequencies alone reach on the evaluation text\n\n",
                outcome.unigram_entropy);
    if (!options.metrics.empty()) {
      metrics.emplace(options.metrics, options.metrics_mode);
      RunFacts facts = run_facts_of(trainer, layout_name);
      facts.model = options.model;
      facts.data = options.data;
      facts.batch = trainer.sequences();
      facts.total_steps = options.steps;
      facts.unigram_entropy = outcome.unigram_entropy;
      metrics->write(facts);
    }
  }

  const Index evaluated = std::min(blocks.evaluation_blocks(), options.evaluation_blocks);
  for (Index step = 1; step <= options.steps; ++step) {
    const double rate = schedule.at(step);
    if (reporter) reporter->start();
    const StepOutcome done = trainer.step(batch_of(blocks, step), rate);
    if (reporter) reporter->stop();
    // Whether time is up is rank 0's clock's word, which all must follow.
    const bool last = trainer.agree(reporter && options.seconds > 0 && reporter->seconds() >= options.seconds) ||
                      step == options.steps;
    const bool evaluates = last || (options.evaluate_every > 0 && step % options.evaluate_every == 0);
    const double evaluation =
        evaluates && evaluated > 0 ? trainer.evaluate(evaluation_of(blocks), evaluated) : not_measured;
    outcome = {step, done.loss, evaluates ? evaluation : outcome.evaluation_loss, outcome.unigram_entropy};
    if (reporter) {
      StepReport report = reporter->report(step, done, rate, trainer.sequences() * blocks.length(), evaluation);
      if (last) report.seconds_left = 0;
      if (step == 1 || evaluates || (options.print_every > 0 && step % options.print_every == 0))
        progress.print(report);
      if (metrics) metrics->write(report);
    }
    if (last) break;
  }
  return outcome;
}

}  // namespace moepar
