// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cmath>
#include <cstddef>
#include <string>
#include <string_view>
#include <utility>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/train/json_line.hpp>
#include <moepar/train/line_file.hpp>
#include <moepar/train/run_facts.hpp>
#include <moepar/train/step_report.hpp>

namespace moepar {

//! The log of a run for programs: JSON Lines, a line a step, each an object that parses alone and is flushed at once,
//! so a killed run loses at most the line it was writing. Every line starts with "version":1 and "kind"; within a
//! version fields are only added. A number that was not measured or is not finite is null. After the first step no line
//! allocates as long as layers and experts stay. One rank of a run writes it.
class MetricsFile {
 public:
  static constexpr Index version = 1;

  //! Throws Error when the file cannot be opened in this mode.
  explicit MetricsFile(std::string path, MetricsMode mode = MetricsMode::create) : file_{std::move(path), mode} {}

  //! The first line of a run, kind "run"; a resumed run may write it again.
  void write(const RunFacts& run) {
    start("run", 1024 + 6 * (run.model.size() + run.layout.size() + run.data.size() + run.build.size()));
    line_.field("model", run.model);
    line_.field("layout", run.layout);
    line_.field("precision", run.precision);
    line_.field("data", run.data);
    line_.field("build", run.build);
    line_.field("parameters", run.parameters);
    line_.field("active_parameters", run.active_parameters);
    line_.field("world", run.world);
    line_.field("layers", run.layers);
    line_.field("experts", run.experts);
    line_.field("top_k", run.top_k);
    line_.field("vocabulary", run.vocabulary);
    line_.field("length", run.length);
    line_.field("batch", run.batch);
    line_.field("total_steps", run.total_steps);
    line_.field("seed", run.seed);
    line_.field("unigram_entropy", run.unigram_entropy);
    finish();
  }

  //! One line of kind "step". "finite" says whether loss and gradient norm are, which null alone does not. Throws Error
  //! when the line cannot be written (a full disk) or the token counts are not layers x experts.
  void write(const StepReport& report) {
    const auto counts = static_cast<Index>(report.tokens_per_expert.size());
    if (report.layers < 0 || report.experts < 0 || counts != (counts == 0 ? 0 : report.layers * report.experts))
      throw Error{"moepar::MetricsFile: step " + std::to_string(report.step) + " reports " + std::to_string(counts) +
                  " token counts for " + std::to_string(report.layers) + " layers of " +
                  std::to_string(report.experts) +
                  " experts. Fix: give one count for each expert of each layer, or none."};
    start("step", 1024 + static_cast<std::size_t>(21 * counts + 3 * report.layers));
    line_.field("step", report.step);
    line_.field("total_steps", report.total_steps);
    line_.field("finite", std::isfinite(report.loss) && std::isfinite(report.gradient_norm));
    line_.field("loss", report.loss);
    line_.field("ce", report.cross_entropy);
    line_.field("evaluation_loss", report.evaluation_loss);
    line_.field("aux_loss", report.auxiliary_loss);
    line_.field("z_loss", report.z_loss);
    line_.field("grad_norm", report.gradient_norm);
    line_.field("lr", report.learning_rate);
    line_.field("milliseconds", report.milliseconds);
    line_.field("tokens_per_second", report.tokens_per_second);
    line_.field("tokens_per_second_per_rank", report.tokens_per_second_per_rank);
    line_.field("percent_of_peak", report.percent_of_peak);
    line_.field("load_max_over_mean", report.load_max_over_mean);
    line_.field("dead_experts", report.dead_experts);
    line_.field("dropped_tokens", report.dropped_tokens);
    line_.field("seconds_left", report.seconds_left);
    line_.field("layers", report.layers);
    line_.field("experts", report.experts);
    line_.field("tokens_per_expert", report.tokens_per_expert.data(), counts == 0 ? 0 : report.layers, report.experts);
    finish();
  }

 private:
  void start(std::string_view kind, std::size_t bytes) {
    line_.open(bytes);
    line_.field("version", version);
    line_.field("kind", kind);
  }

  void finish() { file_.write(line_.close()); }

  detail::LineFile file_;
  detail::JsonLine line_;
};

}  // namespace moepar
