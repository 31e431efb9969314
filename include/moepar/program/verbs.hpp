// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <moepar/checkpoint/shared_tensor_file.hpp>
#include <moepar/core/exponential.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/token_sequences.hpp>
#include <moepar/optim/parameter_list.hpp>
#include <moepar/program/options.hpp>
#include <moepar/program/result.hpp>
#include <moepar/program/sequences.hpp>
#include <moepar/tensor/matrix.hpp>
#include <moepar/train/sample.hpp>
#include <moepar/train/trainer.hpp>
#include <span>
#include <vector>

// The verbs of a model program that only compute: each is called by all ranks, with a trainer whose values are loaded.
namespace moepar::program {

//! Logits of all rows into one tensor [rows, longest, vocabulary]; zeros where a row has padding.
template <class Trainer>
void write_logits(Trainer& trainer, const TokenSequences& data, const ProgramOptions& options) {
  constexpr Index vocabulary = Trainer::Model::facts.vocabulary;
  const Index longest = data.longest_row();
  SharedTensorFile file{trainer.rank().axes().world,
                        options.out,
                        {{"logits",
                          TensorType::F32,
                          {static_cast<std::uint64_t>(data.size()), static_cast<std::uint64_t>(longest), vocabulary}}}};
  trainer.logits(rows_of(data), data.size(), [&](Index row, Matrix<const float> logits) {
    const Index first = (row * longest + data.sequence(row).first) * vocabulary;
    file.write("logits", first, {logits.data, static_cast<std::size_t>(logits.size())});
  });
  file.finish();
  if (trainer.rank().rank() == 0)
    ProgramResult{}
        .add("sequences", data.size())
        .add("longest", longest)
        .add("vocabulary", vocabulary)
        .add("out", options.out)
        .write();
}

//! Cross entropy, losses, and the gradient of every parameter under its Hugging Face name.
template <class Trainer>
void write_gradients(Trainer& trainer, const TokenSequences& data, const ProgramOptions& options) {
  const StepOutcome outcome = trainer.gradients(rows_of(data));
  auto& rank = trainer.rank();
  SharedTensorFile file{rank.axes().world, options.out, tensor_entries(trainer.model(), TensorType::F32)};
  for_each_run_once(rank, trainer.parameters(),
                    [&](const ListedParameter& listed, Index copy, Index first, Index count, Index at) {
                      file.write(listed.names[static_cast<std::size_t>(copy)], first,
                                 rank.kept_gradient(listed.parameter)
                                     .subspan(static_cast<std::size_t>(at), static_cast<std::size_t>(count)));
                    });
  file.finish();
  if (rank.rank() == 0)
    ProgramResult{}
        .add("ce", outcome.loss)
        .add("aux", outcome.auxiliary_loss)
        .add("z_loss", outcome.z_loss)
        .add("loss", trainer.total_loss(outcome))
        .add("grad_norm", outcome.gradient_norm)
        .add("targets", data.targets())
        .add("ignored_labels", data.ignored())
        .add("tokens_per_expert", trainer.router_counts(), trainer.routers().layers, trainer.routers().experts)
        .write();
}

template <class Trainer> void evaluate(Trainer& trainer, const TokenSequences& data, const ProgramOptions& options) {
  const double loss = trainer.evaluate(rows_of(data), data.size());
  if (trainer.rank().rank() == 0)
    ProgramResult{}
        .add("ce", loss)
        .add("perplexity", exp64(loss))
        .add("sequences", data.size())
        .add("targets", data.targets())
        .add("ignored_labels", data.ignored())
        .write(options.out);
}

template <class Trainer> void generate(Trainer& trainer, const ProgramOptions& options, std::int32_t eos) {
  const std::vector<std::int32_t> text = sample_text(trainer, options.ids, options.count,
                                                     {.temperature = options.temperature,
                                                      .top_p = options.top_p,
                                                      .seed = options.seed,
                                                      .end = options.stop_at_eos ? eos : -1});
  const std::span<const std::int32_t> all{text};
  if (trainer.rank().rank() == 0)
    ProgramResult{}
        .add("prompt", all.first(options.ids.size()))
        .add("generated", all.subspan(options.ids.size()))
        .write(options.out);
}

}  // namespace moepar::program
