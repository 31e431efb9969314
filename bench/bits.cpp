// SPDX-License-Identifier: Apache-2.0
// What exact bits cost: the numeric core against what a program would use otherwise, on this machine, in this build.
//   g++ -std=c++20 -O3 -march=native -I include bench/bits.cpp -o bits && ./bits
// Both sides of a ratio are measured in turn in the same run; the medians of several rounds are shown.
#include <algorithm>
#include <chrono>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include <moepar/core/elementary.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/ieee.hpp>
#include <moepar/core/normal.hpp>
#include <moepar/core/part_stack.hpp>
#include <moepar/core/random.hpp>
#include <moepar/core/row_sum.hpp>

namespace {

using moepar::Index;
using Row = std::vector<float>;

constexpr std::size_t count = 16384;  // elements of a call: 64 KiB of floats, in L2

//! Keeps the optimiser from dropping work whose result nobody reads.
template <class Value> [[gnu::noinline]] void keep(const Value& value) { asm volatile("" : : "g"(&value) : "memory"); }

struct Pair {
  const char* name;
  const char* peer;
  void (*ours)();
  void (*theirs)();
  double ours_ns = 0, theirs_ns = 0;  // per element
};

Row input32, output32;
std::vector<double> input64, output64;

void our_words() {
  const moepar::RandomKey key = moepar::random_key(1, "bench");
  std::uint32_t sum = 0;
  for (Index i = 0; i < Index{count}; ++i) sum += moepar::random_word(key, 1, i);
  keep(sum);
}
void our_blocks() {
  const moepar::RandomKey key = moepar::random_key(1, "bench");
  std::uint32_t sum = 0;
  for (Index i = 0; i < Index{count} / 4; ++i)
    for (const std::uint32_t word : moepar::random_block(key, 1, i).word) sum += word;
  keep(sum);
}
void mersenne_words() {
  static std::mt19937_64 generator{1};
  std::uint32_t sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += static_cast<std::uint32_t>(generator());
  keep(sum);
}

void our_normal() {
  moepar::fill_normal(output32, moepar::random_key(1, "bench"), 0, 0, 0.0, 0.02);
  keep(output32[0]);
}
void standard_normal() {
  static std::mt19937_64 generator{1};
  std::normal_distribution<float> distribution{0.0f, 0.02f};
  for (float& value : output32) value = distribution(generator);
  keep(output32[0]);
}

void our_exp32() {
  for (std::size_t i = 0; i < count; ++i) output32[i] = moepar::exp32(input32[i]);
  keep(output32[0]);
}
void standard_exp32() {
  for (std::size_t i = 0; i < count; ++i) output32[i] = std::exp(input32[i]);
  keep(output32[0]);
}

void our_exp64() {
  for (std::size_t i = 0; i < count; ++i) output64[i] = moepar::exp64(input64[i]);
  keep(output64[0]);
}
void standard_exp64() {
  for (std::size_t i = 0; i < count; ++i) output64[i] = std::exp(input64[i]);
  keep(output64[0]);
}

void our_log64() {
  for (std::size_t i = 0; i < count; ++i) output64[i] = moepar::log64(std::fabs(input64[i]));
  keep(output64[0]);
}
void standard_log64() {
  for (std::size_t i = 0; i < count; ++i) output64[i] = std::log(std::fabs(input64[i]));
  keep(output64[0]);
}

void our_dot() { keep(moepar::row_dot(std::span<const float>{input32}, std::span<const float>{output32})); }
void running_dot() {
  float sum = 0;
  for (std::size_t i = 0; i < count; ++i) sum += input32[i] * output32[i];
  keep(sum);
}

constexpr Index leaves = 256;  // count / leaves elements a leaf
struct AddBuffers {
  float* data;
  void operator()(Index left, Index right) const {
    constexpr Index width = Index{count} / leaves;
    for (Index i = 0; i < width; ++i) data[left * width + i] += data[right * width + i];
  }
};
void our_tree() {
  static const moepar::GranuleTree tree{leaves};
  moepar::PartStack<Index, AddBuffers> stack{tree, {output32.data()}};
  for (Index leaf = 0; leaf < leaves; ++leaf) stack.push({leaf, leaf + 1}, leaf);
  keep(stack.finish());
}
void running_rows() {
  const AddBuffers add{output32.data()};
  for (Index leaf = 1; leaf < leaves; ++leaf) add(0, leaf);
  keep(output32[0]);
}

double nanoseconds_of(void (*work)(), int repetitions) {
  const auto start = std::chrono::steady_clock::now();
  for (int i = 0; i < repetitions; ++i) work();
  const std::chrono::duration<double, std::nano> time = std::chrono::steady_clock::now() - start;
  return time.count() / repetitions / static_cast<double>(count);
}

double median(std::vector<double> values) {
  std::sort(values.begin(), values.end());
  return values[values.size() / 2];
}

void refill() {
  moepar::fill_normal(input32, moepar::random_key(2, "input"), 0, 0, 0.0, 3.0);
  moepar::fill_normal(output32, moepar::random_key(3, "input"), 0, 0, 0.0, 1.0);
  for (std::size_t i = 0; i < count; ++i) input64[i] = static_cast<double>(input32[i]);
}

void measure(Pair& pair, int rounds) {
  int repetitions = 1;  // about 2 ms a side and round
  while (nanoseconds_of(pair.ours, repetitions) * repetitions * static_cast<double>(count) < 2e6) repetitions *= 2;
  std::vector<double> ours, theirs;
  for (int round = 0; round < rounds; ++round) {
    refill();
    ours.push_back(nanoseconds_of(pair.ours, repetitions));
    refill();
    theirs.push_back(nanoseconds_of(pair.theirs, repetitions));
  }
  pair.ours_ns = median(ours);
  pair.theirs_ns = median(theirs);
}

//! The schema of Google Benchmark, so that its compare tools read the file. True if all of it was written.
bool write_json(const char* path, const std::vector<Pair>& pairs, int rounds) {
  std::FILE* file = std::fopen(path, "w");
  if (file == nullptr) return false;
  std::fprintf(file, "{\n  \"context\": {\"library_name\": \"moepar\", \"num_cpus\": %u, \"compiler\": \"%s\"},\n",
               std::thread::hardware_concurrency(), __VERSION__);
  std::fprintf(file, "  \"benchmarks\": [");
  const char* separator = "\n";
  for (const Pair& pair : pairs)
    for (const bool ours : {true, false}) {
      const double time = ours ? pair.ours_ns : pair.theirs_ns;
      std::fprintf(file,
                   "%s    {\"name\": \"bits/%s/%s\", \"run_type\": \"aggregate\", \"aggregate_name\": \"median\", "
                   "\"iterations\": %d, \"real_time\": %.6g, \"cpu_time\": %.6g, \"time_unit\": \"ns\", "
                   "\"items_per_second\": %.6g}",
                   separator, pair.name, ours ? "moepar" : "peer", rounds, time, time, 1e9 / time);
      separator = ",\n";
    }
  std::fprintf(file, "\n  ]\n}\n");
  const bool good = std::ferror(file) == 0;
  return std::fclose(file) == 0 && good;
}

constexpr const char* help =
    "usage: bits [--rounds N] [--json FILE]\n"
    "Times the numeric core of moepar against its peers in nanoseconds an element, medians of N rounds (default 15).\n"
    "A ratio above 1 is the price of bits that depend on no compiler, library, thread or rank.\n"
    "  --json FILE   also writes the times in the JSON schema of Google Benchmark\n";

}  // namespace

int main(int argc, char** argv) {
  int rounds = 15;
  const char* json = nullptr;
  for (int i = 1; i < argc; ++i) {
    if (std::strcmp(argv[i], "--help") == 0) return std::fputs(help, stdout), 0;
    const bool value_follows = i + 1 < argc;
    if (std::strcmp(argv[i], "--json") == 0 && value_follows) {
      json = argv[++i];
    } else if (std::strcmp(argv[i], "--rounds") == 0 && value_follows) {
      rounds = std::atoi(argv[++i]);
    } else {
      return std::fprintf(stderr, "bits: cannot use the argument '%s'\n%s", argv[i], help), 2;
    }
  }
  if (rounds < 1 || rounds > 1000) return std::fprintf(stderr, "bits: --rounds must be 1 to 1000\n"), 2;
  moepar::require_ieee_arithmetic();

  input32.resize(count), output32.resize(count), input64.resize(count), output64.resize(count);
  std::vector<Pair> pairs = {
      {"random_word", "std::mt19937_64", our_words, mersenne_words},
      {"random_block", "std::mt19937_64", our_blocks, mersenne_words},
      {"fill_normal", "mt19937_64 + normal_distribution", our_normal, standard_normal},
      {"exp32", "std::exp(float)", our_exp32, standard_exp32},
      {"exp64", "std::exp(double)", our_exp64, standard_exp64},
      {"log64", "std::log(double)", our_log64, standard_log64},
      {"row_dot", "running sum", our_dot, running_dot},
      {"tree push, 64 floats a leaf", "running sum of rows", our_tree, running_rows},
  };
  std::printf("%-28s %-33s %12s %12s %8s\n", "moepar", "peer", "ns/element", "peer", "ratio");
  for (Pair& pair : pairs) {
    measure(pair, rounds);
    std::printf("%-28s %-33s %12.3f %12.3f %8.2f\n", pair.name, pair.peer, pair.ours_ns, pair.theirs_ns,
                pair.ours_ns / pair.theirs_ns);
  }
  if (json != nullptr && !write_json(json, pairs, rounds))
    return std::fprintf(stderr, "bits: cannot write %s. Fix: give a path in a folder that exists.\n", json), 1;
  return 0;
}
