// SPDX-License-Identifier: Apache-2.0
// Trains a small Mixtral on a text, on four ranks: its experts spread over two, everything sharded over two. Before
// that, three steps on two layouts show that a layout does not change a bit of what is learnt. Afterwards the folder of
// the run holds model.safetensors and metrics.jsonl (for people: examples/report.cpp), and you read what it writes.
//
//   g++ -std=c++20 -O3 -I include examples/train_text.cpp -pthread && ./a.out
//   ./a.out my_text.txt --steps 5000 --seconds 600 --out my_run
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <moepar/moe.hpp>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

namespace mp = moepar;
using mp::Index;

// The model, and how it is spread: both degrees are part of its type.
constexpr Index vocabulary = mp::ByteTokenizer::vocabulary(), width = 64, ranks = 4;

template <Index ExpertDegree>
struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<width, 128>, 8>, ExpertDegree> {};
template <Index ExpertDegree>
struct MoeLayer : mp::Moe<mp::Router<mp::AuxiliaryLoss, /*TopK=*/2>, Experts<ExpertDegree>> {};
template <Index ExpertDegree>
struct Block : mp::TransformerBlock<mp::Attention<width, /*heads*/ 4, /*kv heads*/ 2>, MoeLayer<ExpertDegree>> {};
template <Index ExpertDegree, Index ShardDegree>
struct Mixtral : mp::HybridShard<mp::CausalLm<vocabulary, mp::Repeat<Block<ExpertDegree>, 2>>, ShardDegree> {};

template <Index ExpertDegree, Index ShardDegree>
using Job = mp::Deployment<Mixtral<ExpertDegree, ShardDegree>, mp::World<ranks>>;

namespace {

struct Options {
  std::string text{}, out = "train_text_run";
  Index steps = 2000;
  double seconds = 45;
};

constexpr const char* usage =
    "usage: train_text [TEXT] [--steps N] [--seconds S] [--out FOLDER]\n"
    "  TEXT       the file to train on; without it examples/data/tiny_shakespeare.txt\n"
    "  --steps    most steps, 2000 without it\n"
    "  --seconds  training ends with the first step after so many, 45 without it; 0: no limit\n"
    "  --out      folder of the checkpoint and the metrics, train_text_run without it\n";

template <class Number> Number number(std::string_view name, std::string_view text, Number least) {
  Number value{};
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc{} || end != text.data() + text.size() || !(value >= least))
    throw mp::Error{"train_text: " + std::string{name} + " takes a number of at least " + std::to_string(Index(least)) +
                    ", not '" + std::string{text} + "'."};
  return value;
}

// The default text, seen from the folder of the repository or wherever this file was compiled.
std::string default_text() {
  const std::filesystem::path name = "data/tiny_shakespeare.txt";
  for (const auto& folder : {std::filesystem::path{"examples"}, std::filesystem::path{__FILE__}.parent_path()})
    if (std::filesystem::exists(folder / name)) return (folder / name).string();
  throw mp::Error{"train_text: there is no examples/data/tiny_shakespeare.txt here. Fix: name a text file."};
}

Options parse(int argc, char** argv) {
  Options options;
  for (int i = 1; i < argc; ++i) {
    const std::string_view word = argv[i];
    if (!word.starts_with('-')) {
      if (!options.text.empty())
        throw mp::Error{"train_text: there are two texts, '" + options.text + "' and '" + argv[i] + "'."};
      options.text = word;
      continue;
    }
    if (word != "--steps" && word != "--seconds" && word != "--out")
      throw mp::Error{"train_text: there is no option '" + std::string{word} + "'."};
    if (i + 1 == argc) throw mp::Error{"train_text: " + std::string{word} + " takes a value."};
    const std::string_view value = argv[++i];
    if (word == "--steps") options.steps = number<Index>(word, value, 1);
    if (word == "--seconds") options.seconds = number<double>(word, value, 0);
    if (word == "--out") options.out = value;
  }
  return options;
}

constexpr double peak = 1e-2;
const mp::AdamW optimizer{.learning_rate = peak, .beta2 = 0.99};
const mp::TrainerOptions settings{
    .shape = {.sequences = 4, .length = 64}, .initial_deviation = 0.1, .numerics = {.rotary_theta = 1e4}};

struct State {
  double loss = 0;
  std::uint64_t hash = 0;  // of parameters and optimizer state
  friend bool operator==(const State&, const State&) = default;
};

// The state after each of a few steps on one layout.
template <class JobType> std::vector<State> first_steps(const mp::TokenBlocks& blocks, Index steps) {
  std::vector<State> states(static_cast<std::size_t>(steps));
  mp::run_threads<JobType>([&](auto& rank) {
    mp::Trainer trainer{rank, optimizer, settings};
    for (Index step = 1; step <= steps; ++step) {
      const double loss = trainer.step(mp::batch_of(blocks, step)).loss;
      const std::uint64_t hash = trainer.hash();
      if (rank.is_first()) states[static_cast<std::size_t>(step - 1)] = {loss, hash};
    }
  });
  return states;
}

bool layouts_agree(const mp::TokenBlocks& blocks) {
  const auto one = first_steps<Job<4, 1>>(blocks, 3), two = first_steps<Job<2, 2>>(blocks, 3);
  std::printf("The same model on two layouts: loss, and hash of parameters and optimizer state\n\n");
  std::printf("  %4s   %-27s   %s\n", "step", "expert degree 4, no shards", "expert degree 2, 2 shards");
  for (std::size_t i = 0; i < one.size(); ++i) {
    std::printf("  %4zu", i + 1);
    for (const State& state : {one[i], two[i]})
      std::printf("   %.6f   %016llx", state.loss, static_cast<unsigned long long>(state.hash));
    std::printf("   %s\n", one[i] == two[i] ? "equal" : "DIFFERENT");
  }
  std::printf("\n");
  return one == two;
}

int train(const Options& options, int argc, char** argv) {
  const std::string text = options.text.empty() ? default_text() : options.text;
  const mp::ByteTokenizer tokenizer;
  const mp::TokenBlocks blocks{tokenizer.encode(mp::read_text(text)),
                               {.length = settings.shape.length, .batch = ranks * settings.shape.sequences, .seed = 1}};
  std::error_code problem;
  std::filesystem::create_directories(options.out, problem);
  if (problem)
    throw mp::Error{"train_text: the folder '" + options.out + "' could not be made: " + problem.message() + "."};
  if (!layouts_agree(blocks)) return 1;

  bool learnt = false;
  const int code = mp::run<Job<2, 2>>(argc, argv, [&](auto& rank) {
    mp::Trainer trainer{rank, optimizer, settings};
    const mp::WarmupCosine schedule{.peak = peak, .floor = peak / 20, .warmup_steps = 50, .total_steps = options.steps};
    const mp::FitOutcome outcome = mp::fit(trainer, blocks, schedule,
                                           {.steps = options.steps,
                                            .print_every = 50,
                                            .evaluate_every = 100,
                                            .evaluation_blocks = 128,
                                            .metrics_mode = mp::MetricsMode::replace,
                                            .metrics = options.out + "/metrics.jsonl",
                                            .model = "a small Mixtral",
                                            .data = text,
                                            .seconds = options.seconds});
    trainer.save(options.out);
    const std::uint64_t hash = trainer.hash();
    const auto sample = mp::sample_text(trainer, tokenizer.encode("\n"), 400, {.temperature = 0.7});
    if (!rank.is_first()) return;
    learnt = outcome.evaluation_loss < outcome.unigram_entropy;
    std::printf("\nevaluation  %.4f nats a token after %lld steps, unigram entropy %.4f: %s\n", outcome.evaluation_loss,
                static_cast<long long>(outcome.steps), outcome.unigram_entropy,
                learnt ? "it has learnt from context" : "it needs more steps");
    std::printf("state       %016llx, the hash that every layout ends with\n", static_cast<unsigned long long>(hash));
    std::printf("saved       %s/model.safetensors, %s/metrics.jsonl\n", options.out.c_str(), options.out.c_str());
    std::printf("\nWhat it writes:\n%s\n", tokenizer.decode(sample).c_str());
  });
  return code == 0 && learnt ? 0 : 1;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc == 2 && argv[1] == std::string_view{"--help"}) return std::fputs(usage, stdout) < 0 ? 1 : 0;
  Options options;
  try {
    options = parse(argc, argv);
  } catch (const mp::Error& error) {
    std::fprintf(stderr, "%s\n%s", error.what(), usage);
    return 2;
  }
  try {
    return train(options, argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
}
