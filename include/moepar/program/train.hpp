// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <charconv>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <moepar/checkpoint/checkpoint_facts.hpp>
#include <moepar/checkpoint/checkpoint_loader.hpp>
#include <moepar/checkpoint/checkpoint_writer.hpp>
#include <moepar/comm/collective_error.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/row_order.hpp>
#include <moepar/data/token_sequences.hpp>
#include <moepar/plan/census_walk.hpp>
#include <moepar/program/facts.hpp>
#include <moepar/program/load_values.hpp>
#include <moepar/program/options.hpp>
#include <moepar/program/result.hpp>
#include <moepar/program/sequences.hpp>
#include <moepar/train/learning_rate.hpp>
#include <moepar/train/metrics.hpp>
#include <moepar/train/plan_text.hpp>
#include <moepar/train/progress_line.hpp>
#include <moepar/train/run_facts.hpp>
#include <moepar/train/step_reporter.hpp>
#include <moepar/train/stop_signal.hpp>
#include <moepar/train/terminal.hpp>
#include <moepar/train/trainer.hpp>
#include <optional>
#include <string>
#include <system_error>

namespace moepar::program {

//! 16 digits.
inline std::string hexadecimal(std::uint64_t value) {
  std::string digits(16, '0');
  for (std::size_t i = 16; i-- > 0; value >>= 4) digits[i] = "0123456789abcdef"[value & 15];
  return digits;
}

//! The schedule that the command line names.
struct Schedule {
  const ProgramOptions* options;

  [[nodiscard]] double at(Index step) const {
    const Index length = options->schedule_steps > 0 ? options->schedule_steps : options->steps;
    const double peak = options->optimizer.learning_rate, floor = options->floor, warmup = options->warmup;
    if (options->schedule == "cosine")
      return WarmupCosine{.peak = peak, .floor = floor, .warmup_steps = warmup, .total_steps = length}.at(step);
    const Index total = options->schedule == "linear" ? length : 0;
    return WarmupLinear{.peak = peak, .floor = floor, .warmup_steps = warmup, .total_steps = total}.at(step);
  }
};

//! What people and programs see of a training: the plan and a line a step on stderr, the metrics file. For rank 0.
template <class Trainer> class TrainingLog {
 public:
  TrainingLog(Trainer& trainer, const ProgramOptions& options, Index steps_made)
      : print_every_{options.print_every},
        progress_{{.terminal = terminal_of(stderr)}},
        reporter_{trainer, steps_made, options.steps} {
    using Model = typename Trainer::Model;
    const auto& shape = trainer.options().shape;
    const Layout& layout = trainer.rank().layout();
    if (print_every_ > 0)
      std::fputs((plan_text<Model>(layout, shape, 0, trainer.rank().device().workers().count()) + "\n").c_str(),
                 stderr);
    if (options.metrics.empty()) return;
    const std::string layout_name = layout_text(layout);
    metrics_.emplace(options.metrics, steps_made > 0 ? MetricsMode::append : MetricsMode::replace);
    RunFacts facts = run_facts_of(trainer, layout_name);
    facts.model = "mixtral";
    facts.data = options.data;
    facts.batch = options.batch;
    facts.total_steps = options.steps;
    metrics_->write(facts);
  }

  void start() { reporter_.start(); }
  void step(Index step, const StepOutcome& outcome, double rate, Index tokens, bool last) {
    reporter_.stop();
    const StepReport& report = reporter_.report(step, outcome, rate, tokens);
    if (print_every_ > 0 && (step % print_every_ == 0 || last)) progress_.print(report, stderr);
    if (metrics_) metrics_->write(report);
  }
  [[nodiscard]] double seconds() const { return reporter_.seconds(); }

 private:
  Index print_every_;
  ProgressLine progress_;
  StepReporter<Trainer> reporter_;
  std::optional<MetricsFile> metrics_{};
};

//! What a resumed run must have as the run before had it, or its bits would be others.
inline Facts facts_of(const ProgramOptions& options, const TokenSequences& data, const TrainerOptions& trainer,
                      Index routed_columns) {
  const auto text = [](double value) {
    char digits[32];
    return std::string(digits, std::to_chars(digits, digits + sizeof digits, value).ptr);
  };
  const AdamW& adam = options.optimizer;
  return {{"batch", std::to_string(options.batch)},
          {"data", hexadecimal(hash_of(data))},
          {"order", options.shuffle ? "shuffled by " + std::to_string(*options.shuffle) : "as in the file"},
          {"adam_w", text(adam.beta1) + " " + text(adam.beta2) + " " + text(adam.epsilon) + " " +
                         text(adam.weight_decay) + (adam.decay_norms ? "" : " without norms")},
          {"clip", text(options.clip)},
          {"schedule",
           options.schedule + " of " + text(adam.learning_rate) + ", warm-up " + text(options.warmup) + ", at least " +
               text(options.floor) +
               (options.schedule == "constant"
                    ? ""
                    : ", " + std::to_string(options.schedule_steps > 0 ? options.schedule_steps : options.steps) +
                          " steps (--schedule-steps, or --steps)")},
          {"model", "norm epsilon " + text(trainer.numerics.norm_epsilon) + ", theta " +
                        text(trainer.numerics.rotary_theta) + ", padding token " +
                        std::to_string(trainer.numerics.padding_token) + ", elements routed for a token " +
                        std::to_string(routed_columns)},
          {"losses", "auxiliary " + text(trainer.numerics.auxiliary_loss_coefficient) + ", z " +
                         text(trainer.numerics.z_loss_coefficient)}};
}

//! A run that is not gone on with keeps its folder: a start that forgot --resume would set it aside.
inline void refuse_other_run(const ProgramOptions& options) {
  if (options.save.empty()) return;
  std::error_code ignored;
  if (!options.resume.empty() && std::filesystem::weakly_canonical(options.resume, ignored) ==
                                     std::filesystem::weakly_canonical(options.save, ignored))
    return;
  if (const auto there = checkpoints_of(options.save); !there.empty())
    throw Error{"moepar: " + options.save + " holds the checkpoints of another run, the last of them " + there.back() +
                ". Fix: go on with it by --resume " + options.save + ", or give --save a folder of its own."};
}

//! Trains, from the values that the trainer has or from the newest checkpoint of options.resume on, up to step
//! options.steps or a signal to stop. A checkpoint that cannot be written is reported, and training goes on; only the
//! last one must succeed.
template <class Trainer>
void train(Trainer& trainer, const TokenSequences& data, const ProgramOptions& asked, const ProgramFacts& program) {
  ProgramOptions options = asked;
  if (options.batch == 0) options.batch = trainer.sequences();
  const bool first = trainer.rank().rank() == 0;
  const auto state = trainer.training_state();
  const Facts facts = facts_of(options, data, trainer.options(), census_of<typename Trainer::Model>().routed_columns);
  refuse_other_run(options);
  if (!options.resume.empty()) {
    const LoadedCheckpoint loaded = load_checkpoint(state, options.resume);
    require_same_facts(loaded.facts, facts);
    if (first) {
      for (const std::string& skipped : loaded.skipped) std::fprintf(stderr, "%s\n", skipped.c_str());
      std::fprintf(stderr, "resumed     after step %lld of %s, written by %s\n", static_cast<long long>(loaded.step),
                   options.resume.c_str(), layout_text(loaded.layout).c_str());
    }
  }
  using Writer = decltype(CheckpointWriter{state, options.save, {}});
  std::optional<Writer> writer;
  if (!options.save.empty())
    writer.emplace(state, options.save, CheckpointOptions{.keep = options.keep, .asynchronous = !options.synchronous});
  // An error of a save is the same on all ranks.
  const auto or_report = [&](auto save) {
    try {
      save();
    } catch (const CollectiveError&) {
      throw;
    } catch (const Error& error) {
      if (first) std::fprintf(stderr, "the checkpoint was not written, training goes on: %s\n", error.what());
    }
  };

  if (trainer.steps() > options.steps)
    throw Error{"moepar: " + options.resume + " has made " + std::to_string(trainer.steps()) +
                " steps, and --steps asks for " + std::to_string(options.steps) +
                " in all. Fix: give the steps of the whole run."};
  const RowOrder order{data.size(), options.batch, options.shuffle};
  const Schedule schedule{&options};
  const Index made = trainer.steps();
  std::optional<StopSignal> stop;
  std::optional<TrainingLog<Trainer>> log;
  if (first) {
    stop.emplace();
    log.emplace(trainer, options, made);
  }
  StepOutcome outcome{.loss = not_measured, .auxiliary_loss = not_measured};
  bool stopped = false;
  for (Index step = made + 1; step <= options.steps && !stopped; ++step) {
    if (log) log->start();
    const double rate = schedule.at(step);
    outcome = trainer.step(batch_of(data, order, step), rate);
    stopped = trainer.agree(stop && stop->asked());
    if (log) log->step(step, outcome, rate, tokens_of(data, order, step), stopped || step == options.steps);
    if (!writer) continue;
    or_report([&] { writer->poll(); });
    if (options.save_every > 0 && step % options.save_every == 0 && step != options.steps && !stopped)
      or_report([&] { writer->save(facts); });
  }
  if (writer) {
    or_report([&] { writer->finish(); });
    writer->save(facts);
    writer->finish();
    trainer.save(options.save, {.config = program.config});
  }
  const std::uint64_t hash = trainer.hash();
  if (first)
    ProgramResult{}
        .add("steps", trainer.steps())
        .add("stopped", stopped)
        .add("loss", trainer.total_loss(outcome))
        .add("ce", outcome.loss)
        .add("aux", outcome.auxiliary_loss)
        .add("grad_norm", outcome.gradient_norm)
        .add("hash", hexadecimal(hash))
        .add("ignored_labels", data.ignored())
        .add("seconds", log->seconds())
        .write();
}

//! Writes the weights as a folder that transformers loads.
template <class Trainer>
void export_weights(Trainer& trainer, const ProgramOptions& options, const ProgramFacts& program) {
  trainer.save(options.out, {.config = program.config});
  const std::uint64_t hash = trainer.hash();
  if (trainer.rank().rank() == 0)
    ProgramResult{}
        .add("out", options.out)
        .add("step", trainer.steps())
        .add("parameters", census_of<typename Trainer::Model>().parameters().total())
        .add("hash", hexadecimal(hash))
        .write();
}

}  // namespace moepar::program
