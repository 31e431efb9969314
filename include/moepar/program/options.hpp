// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <CLI/CLI.hpp>
#include <array>
#include <charconv>
#include <cstdint>
#include <moepar/core/index.hpp>
#include <moepar/optim/adam_w.hpp>
#include <optional>
#include <string>
#include <system_error>
#include <vector>

namespace moepar {

enum class Verb { logits, gradients, evaluate, train, generate, plan, verify, export_model };

//! What the command line of a model program says.
struct ProgramOptions {
  Verb verb = Verb::plan;
  std::string checkpoint{}, data{}, out{}, folder{};
  std::vector<std::int32_t> ids{};
  Index batch = 0;  //!< sequences of a step; 0: what the verb takes by itself
  Index length = 0;
  Index micro_steps = 1;
  Index receive_rows = 0;
  Index workers = 0;
  std::optional<double> auxiliary_loss_coefficient{};
  double z_loss_coefficient = 0;

  // train
  Index steps = 0;
  std::uint64_t seed = 1;
  AdamW optimizer{.learning_rate = 1e-3, .weight_decay = 0.01};
  double clip = 0;
  std::string schedule = "constant";
  Index schedule_steps = 0;  //!< 0: those of the run
  double warmup = 0;         //!< steps
  double floor = 0;          //!< smallest learning rate
  std::optional<std::uint64_t> shuffle{};
  std::string save{}, resume{}, metrics{};
  Index save_every = 0, keep = 2, print_every = 1;
  bool synchronous = false;

  // generate
  Index count = 16;
  double temperature = 0, top_p = 1;
  bool stop_at_eos = false;
};

//! What a command line that asks for help, or that is wrong, ends with.
struct ProgramExit {
  int code = 0;
};

namespace detail {

//! A path that is given must not be empty.
inline const CLI::Validator named{
    [](const std::string& path) { return path.empty() ? std::string{"it is empty"} : std::string{}; }, "PATH"};

//! "1,2,3" as token ids.
inline std::vector<std::int32_t> parse_ids(const std::string& text) {
  std::vector<std::int32_t> ids;
  for (const char *at = text.data(), *end = at + text.size(); at != end;) {
    std::int32_t id = -1;
    const auto [rest, problem] = std::from_chars(at, end, id);
    if (problem != std::errc{} || id < 0 || (rest != end && (*rest != ',' || rest + 1 == end)))
      throw CLI::ValidationError("--ids", "'" + text + "' is no list of token ids such as 1,2,3");
    ids.push_back(id);
    at = rest == end ? end : rest + 1;
  }
  if (ids.empty()) throw CLI::ValidationError("--ids", "it is empty");
  return ids;
}
inline CLI::Option* add_ids(CLI::App& app, ProgramOptions& options, const char* text) {
  return app.add_option_function<std::string>(
      "--ids", [&options](const std::string& ids) { options.ids = parse_ids(ids); }, text);
}

//! A seed: digits alone, below 2^64.
inline const CLI::Validator is_seed{[](const std::string& text) {
                                      std::uint64_t seed = 0;
                                      const char* const end = text.data() + text.size();
                                      const auto [rest, problem] = std::from_chars(text.data(), end, seed);
                                      return problem == std::errc{} && rest == end
                                                 ? std::string{}
                                                 : "'" + text + "' is no whole number from 0 to 2^64 - 1";
                                    },
                                    "SEED"};

inline void add_checkpoint(CLI::App& app, ProgramOptions& options, bool required) {
  auto* option = app.add_option("--checkpoint", options.checkpoint,
                                "Folder of weights: Hugging Face's (safetensors, classic or fused), or a checkpoint of "
                                "this program");
  option->check(named);
  if (required) option->required();
}
inline void add_data(CLI::App& app, ProgramOptions& options, bool required) {
  auto* option = app.add_option(
      "--data", options.data, "JSON lines: input_ids, and if need be attention_mask and labels (-100: not asked for)");
  if (required) option->required();
}
inline void add_losses(CLI::App& app, ProgramOptions& options) {
  app.add_option("--aux-loss-coef", options.auxiliary_loss_coefficient,
                 "Coefficient of the auxiliary loss (default: that of the model)");
  app.add_option("--z-loss-coef", options.z_loss_coefficient, "Coefficient of the router's z-loss (default 0)");
}

inline void add_training(CLI::App& app, ProgramOptions& options) {
  add_checkpoint(app, options, false);
  app.add_option("--seed", options.seed, "Of initial values, where there is no --checkpoint (default 1)")
      ->check(is_seed);
  add_data(app, options, true);
  app.add_option("--batch", options.batch, "Sequences of a step, over all ranks (default: one a rank)")
      ->check(CLI::Range(Index{0}, Index{1} << 40));
  app.add_option("--steps", options.steps, "Steps of the whole run, resumed ones included")
      ->check(CLI::Range(Index{0}, Index{1} << 40))
      ->required();
  app.add_option("--micro-steps", options.micro_steps, "Parts of a batch that are computed one after the other")
      ->check(CLI::Range(Index{1}, Index{1} << 40));
  app.add_option("--receive-rows", options.receive_rows, "Most rows that a rank's experts take at once (default: all)")
      ->check(CLI::Range(Index{0}, Index{1} << 40));
  app.add_option("--shuffle", options.shuffle, "Seed of a random order, new in each epoch (default: order of the file)")
      ->check(is_seed);
  app.add_option("--lr", options.optimizer.learning_rate, "Learning rate, or its peak (default 1e-3)");
  app.add_option_function<std::array<double, 2>>(
         "--betas",
         [&options](const std::array<double, 2>& betas) {
           options.optimizer.beta1 = betas[0];
           options.optimizer.beta2 = betas[1];
         },
         "AdamW's betas (default 0.9,0.999)")
      ->delimiter(',');
  app.add_option("--eps", options.optimizer.epsilon, "AdamW's epsilon (default 1e-8)");
  app.add_option("--weight-decay", options.optimizer.weight_decay, "AdamW's weight decay (default 0.01)");
  app.add_flag("!--no-decay-norms", options.optimizer.decay_norms, "Norm weights keep out of weight decay");
  app.add_option("--clip", options.clip, "Largest gradient norm; 0: none (default 0)");
  app.add_option("--schedule", options.schedule, "constant, linear or cosine (default constant)")
      ->check(CLI::IsMember({"constant", "linear", "cosine"}));
  app.add_option("--schedule-steps", options.schedule_steps,
                 "Steps that linear and cosine run over (default: --steps); the same when a run goes on")
      ->check(CLI::Range(Index{0}, Index{1} << 40));
  app.add_option("--warmup", options.warmup, "Steps in which the learning rate rises (default 0)");
  app.add_option("--min-lr", options.floor, "What the schedule does not fall below (default 0)");
  add_losses(app, options);
  app.add_option("--save", options.save,
                 "Folder for checkpoints (step-N/) and, at the end, for the weights as Hugging Face has them")
      ->check(detail::named);
  app.add_option("--save-every", options.save_every, "Steps between two checkpoints (default: only at the end)")
      ->check(CLI::Range(Index{0}, Index{1} << 40));
  app.add_option("--keep", options.keep, "Newest checkpoints that stay (default 2)")
      ->check(CLI::Range(Index{1}, Index{1} << 40));
  app.add_flag("--synchronous", options.synchronous, "Training waits for a checkpoint to be on disk");
  app.add_option("--resume", options.resume, "Folder of checkpoints: goes on after the newest complete one")
      ->check(detail::named)
      ->excludes("--checkpoint");
  app.add_option("--metrics", options.metrics, "File of a JSON line a step");
  app.add_option("--print-every", options.print_every, "Steps between two progress lines; 0: none (default 1)")
      ->check(CLI::Range(Index{0}, Index{1} << 40));
}

}  // namespace detail

//! Reads the command line. Throws ProgramExit after help, and after an error that was reported on stderr.
inline ProgramOptions parse_program_options(int argc, char** argv) {
  ProgramOptions options;
  CLI::App app{"One Mixtral: evaluates, trains and generates; reads and writes Hugging Face's files."};
  app.require_subcommand(1);
  const auto verb = [&](Verb what, const char* name, const char* text) {
    CLI::App* added = app.add_subcommand(name, text);
    added->final_callback([&options, what] { options.verb = what; });
    added->add_option("--workers", options.workers, "Threads of a rank (default: its share of the cores)")
        ->check(CLI::Range(Index{0}, Index{1} << 40));
    return added;
  };
  CLI::App* logits = verb(Verb::logits, "logits", "Scores of the next token, as a safetensors file");
  detail::add_checkpoint(*logits, options, true);
  detail::add_data(*logits, options, false);
  detail::add_ids(*logits, options, "Token ids, one sequence")->excludes("--data");
  logits->add_option("--out", options.out, "File of the tensor `logits` [sequences, longest, vocabulary]")->required();

  CLI::App* gradients = verb(Verb::gradients, "gradients", "Loss and gradients of one batch, all of --data");
  detail::add_checkpoint(*gradients, options, true);
  detail::add_data(*gradients, options, true);
  detail::add_losses(*gradients, options);
  gradients->add_option("--micro-steps", options.micro_steps, "Parts of the batch, one after the other")
      ->check(CLI::Range(Index{1}, Index{1} << 40));
  gradients->add_option("--out", options.out, "File of the gradients under Hugging Face names, f32")->required();

  CLI::App* evaluate = verb(Verb::evaluate, "evaluate", "Mean cross entropy of --data");
  detail::add_checkpoint(*evaluate, options, true);
  detail::add_data(*evaluate, options, true);
  evaluate->add_option("--batch", options.batch, "Sequences at once, over all ranks (default: one a rank)")
      ->check(CLI::Range(Index{0}, Index{1} << 40));
  evaluate->add_option("--out", options.out, "File for the result (default: standard output)");

  detail::add_training(*verb(Verb::train, "train", "Trains with AdamW; SIGTERM saves and ends"), options);

  CLI::App* generate = verb(Verb::generate, "generate", "Tokens that follow --ids");
  detail::add_checkpoint(*generate, options, true);
  detail::add_ids(*generate, options, "Token ids to go on from (default: the model's first token)");
  generate->add_option("--count", options.count, "Tokens to add (default 16)")
      ->check(CLI::Range(Index{0}, Index{1} << 40));
  generate->add_option("--temperature", options.temperature, "0: always the likeliest (default 0)")
      ->check(CLI::Range(0.0, 1e6));
  generate->add_option("--top-p", options.top_p, "Draw among the likeliest of this probability (default 1)")
      ->check(CLI::Range(1e-9, 1.0));
  generate->add_option("--seed", options.seed, "Of the draws (default 1)")->check(detail::is_seed);
  generate->add_flag("--stop-at-eos", options.stop_at_eos, "End behind the model's end token");
  generate->add_option("--out", options.out, "File for the result (default: standard output)");

  CLI::App* plan = verb(Verb::plan, "plan", "Bytes, operations and collectives of a training step, nothing is run");
  plan->add_option("--batch", options.batch, "Sequences of a step, over all ranks (default: one a rank)")
      ->check(CLI::Range(Index{0}, Index{1} << 40));
  plan->add_option("--length", options.length, "Tokens of a sequence (default 512)")
      ->check(CLI::Range(Index{0}, Index{1} << 40));
  plan->add_option("--micro-steps", options.micro_steps, "Parts of a batch, one after the other")
      ->check(CLI::Range(Index{1}, Index{1} << 40));
  plan->add_option("--receive-rows", options.receive_rows, "Most rows that a rank's experts take at once")
      ->check(CLI::Range(Index{0}, Index{1} << 40));
  plan->add_option("--out", options.out, "File for the result (default: standard output)");

  CLI::App* verify = verb(Verb::verify, "verify", "Reads a checkpoint whole and compares its hashes");
  verify->add_option("folder", options.folder, "Checkpoint of this program, or folder of weights")->required();
  verify->add_option("--out", options.out, "File for the result (default: standard output)");

  CLI::App* exported = verb(Verb::export_model, "export", "A checkpoint of this program as a Hugging Face folder");
  exported->add_option("folder", options.folder, "Checkpoint, or folder of checkpoints: the newest")->required();
  exported->add_option("--out", options.out, "Folder for config.json and the weights")->required();
  try {
    app.parse(argc, argv);
    if (!(options.temperature >= 0))  // a NaN is in every range
      throw CLI::ValidationError("--temperature", "it must be a number of at least 0");
    if (options.save_every > 0 && options.save.empty())
      throw CLI::ValidationError("--save-every", "there is no --save to save to");
  } catch (const CLI::ParseError& error) {
    throw ProgramExit{app.exit(error) == 0 ? 0 : 2};
  }
  return options;
}

}  // namespace moepar
