// SPDX-License-Identifier: Apache-2.0
// A training step of a Mixtral: tokens a second, share of the machine's peak measured in the same run, memory.
//   step [a|c] [seconds]     configuration (default a), how long to measure (default 10)
// bench/peers/step.py prints the same line for transformers and torch.
#include <algorithm>
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <moepar/moe.hpp>
#include <thread>
#include <vector>

namespace mp = moepar;
using mp::Index;

namespace {

template <Index Hidden, Index Intermediate>
struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<Hidden, Intermediate>, 8>, 1> {};
template <Index Hidden, Index Intermediate>
struct MoeLayer : mp::Moe<mp::Router<mp::TopKSoftmax, 2>, Experts<Hidden, Intermediate>> {};
template <Index Vocabulary, Index Hidden, Index Intermediate, Index Layers, Index Heads, Index KvHeads>
struct Mixtral
    : mp::CausalLm<
          Vocabulary,
          mp::Repeat<mp::TransformerBlock<mp::Attention<Hidden, Heads, KvHeads>, MoeLayer<Hidden, Intermediate>>,
                     Layers>> {};

// Seconds of all weight gradients of a step, each summed by the tree over sequences or, for comparison, in one go: what
// the law of equal bits costs.
double weight_gradients(mp::cpu::Workers& workers, Index sequences, Index length, Index hidden, Index intermediate,
                        Index kv_columns, Index layers, bool by_tree) {
  const Index tokens = sequences * length, granules = by_tree ? sequences : 1;
  std::vector<std::uint8_t> merges(static_cast<std::size_t>(granules));
  const mp::GranuleTree tree{granules};
  tree.merge_table({0, granules}, merges);
  const auto groups = [&](Index count, Index rows, std::vector<Index>& begins) {
    begins.clear();
    for (Index i = 0; i <= count * granules; ++i) begins.push_back(i * rows / (count * granules));
    return mp::RowGroups{count, granules, 1, begins.data(), merges.data()};
  };
  std::vector<Index> dense_begins, expert_begins;
  const auto dense = groups(1, tokens, dense_begins), experts = groups(8, 2 * tokens, expert_begins);
  const auto size = [](Index count) { return static_cast<std::size_t>(count); };
  std::vector<float> left(size(2 * tokens * std::max(hidden, intermediate)), 0.5f), right(left);
  std::vector<float> sums(size(8 * hidden * intermediate + hidden * hidden));
  const auto one = [&](const mp::RowGroups& rows, Index outputs, Index inputs) {
    const Index count = rows.rows();
    mp::cpu::weight_gradient<float>(workers, rows, mp::Matrix<const float>{left.data(), count, outputs},
                                    mp::Matrix<const float>{right.data(), count, inputs},
                                    mp::GradientParts<float>{sums.data(), rows.groups * outputs, inputs, 1, 0});
  };
  const auto start = std::chrono::steady_clock::now();
  one(dense, hidden, hidden);
  one(dense, hidden, hidden);
  one(dense, kv_columns, hidden);
  one(dense, kv_columns, hidden);
  one(dense, 8, hidden);
  one(experts, intermediate, hidden);
  one(experts, intermediate, hidden);
  one(experts, hidden, intermediate);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count() * static_cast<double>(layers);
}

template <class Model>
void measure(const char* name, Index sequences, Index length, Index intermediate, Index kv_columns, Index layers,
             Index workers, double seconds) {
  using Clock = std::chrono::steady_clock;
  using Job = mp::Deployment<Model, mp::World<1>>;
  mp::run_threads<Job>(
      [&](auto& rank) {
        const auto built = Clock::now();
        mp::Trainer trainer{rank, mp::AdamW{}, mp::TrainerOptions{.shape = {.sequences = sequences, .length = length}}};
        std::vector<std::int32_t> tokens(static_cast<std::size_t>(sequences * length + 1));
        const auto key = mp::random_key(1, "bench/tokens");
        for (std::size_t i = 0; i < tokens.size(); ++i)
          tokens[i] = static_cast<std::int32_t>(mp::random_word(key, 0, static_cast<Index>(i)) %
                                                static_cast<std::uint32_t>(Model::facts.vocabulary));
        const auto batch = [&](Index sequence) {
          const auto at = static_cast<std::size_t>(sequence * length), size = static_cast<std::size_t>(length);
          return mp::Sequence{std::span{tokens}.subspan(at, size), std::span{tokens}.subspan(at + 1, size)};
        };
        trainer.step(batch);
        const double first = std::chrono::duration<double>(Clock::now() - built).count();
        double peak = mp::cpu::measured_peak(), best = 1e30;
        const auto begin = Clock::now();
        int steps = 0;
        for (; steps < 3 || std::chrono::duration<double>(Clock::now() - begin).count() < seconds; ++steps) {
          const auto start = Clock::now();
          trainer.step(batch);
          best = std::min(best, std::chrono::duration<double>(Clock::now() - start).count());
          peak = std::max(peak, mp::cpu::measured_peak());
        }
        const double mean = std::chrono::duration<double>(Clock::now() - begin).count() / steps;
        const auto tokens_a_step = static_cast<double>(sequences * length);
        const auto& cost = trainer.cost();
        const double bytes = static_cast<double>((3 * cost.held + cost.slots) * 4 + cost.arenas.total());
        std::printf(
            "%-8s moepar f32 %2lld threads  %8.0f tokens/s (best %8.0f)  %5.1f %% of peak %.0f GFLOP/s  "
            "%6.0f MiB  first step after %.2f s\n",
            name, static_cast<long long>(workers), tokens_a_step / mean, tokens_a_step / best,
            100 * static_cast<double>(cost.flops) / mean / (peak * static_cast<double>(workers)),
            peak * static_cast<double>(workers) * 1e-9, bytes / (1 << 20), first);
        const auto wgrad = [&](bool by_tree) {
          return weight_gradients(trainer.rank().device().workers(), sequences, length, Model::facts.hidden,
                                  intermediate, kv_columns, layers, by_tree);
        };
        double plain = 1e30, tree = 1e30;
        for (int attempt = 0; attempt < 15; ++attempt) {  // in turns, so that both meet the same machine
          plain = std::min(plain, wgrad(false));
          tree = std::min(tree, wgrad(true));
        }
        std::printf("%-8s equal bits on every layout cost %.1f %% of its weight gradients, %.1f %% of the best step\n",
                    name, 100 * (tree / plain - 1), 100 * (tree - plain) / best);
      },
      {.workers = workers});
}

}  // namespace

int main(int argc, char** argv) {
  const bool tiny = argc < 2 || std::strcmp(argv[1], "a") == 0;
  if (!tiny && std::strcmp(argv[1], "c") != 0) {
    std::fprintf(stderr, "step: there is no configuration '%s'. Fix: step [a|c] [seconds]\n", argv[1]);
    return 2;
  }
  const double seconds = argc > 2 ? std::atof(argv[2]) : 10;
  const auto cores = static_cast<Index>(std::thread::hardware_concurrency());
  if (tiny)
    measure<Mixtral<2048, 256, 512, 4, 8, 2>>("a tiny", 8, 256, 512, 64, 4, cores, seconds);
  else
    measure<Mixtral<65, 64, 96, 2, 4, 2>>("c char", 8, 128, 96, 32, 2, cores, seconds);
}
