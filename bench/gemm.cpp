// SPDX-License-Identifier: Apache-2.0
// Speed of the CPU's matrix products as a share of what the cores can do: fused multiply-adds in registers, measured
// beside each product so that a change of clock touches both. Ninth tenths of the calls; the machine should be idle.
//   gemm [seconds for each number, 0.3]
#if defined(__x86_64__)
#include <immintrin.h>
#endif
#if defined(__linux__)
#include <sched.h>
#endif

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <moepar/core/granule_tree.hpp>
#include <moepar/kernels/cpu/gemm/products.hpp>
#include <numeric>
#include <thread>
#include <utility>
#include <vector>

namespace {

using moepar::Index;
using moepar::Matrix;

double now() { return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count(); }

constexpr Index peak_steps = 20000;

// Chains of fma, so many that the units never wait; their number of flops is returned.
#if defined(__x86_64__)
template <std::size_t... I> [[gnu::target("avx512f")]] double peak_avx512(std::index_sequence<I...>, float* out) {
  __m512 sum[] = {_mm512_set1_ps(static_cast<float>(I))...};
  const __m512 factor = _mm512_set1_ps(0.5F);
  for (Index step = 0; step < peak_steps; ++step) ((sum[I] = _mm512_fmadd_ps(sum[I], factor, factor)), ...);
  ((sum[0] = _mm512_add_ps(sum[0], sum[I])), ...);
  _mm512_storeu_ps(out, sum[0]);
  return static_cast<double>(peak_steps * 32 * static_cast<Index>(sizeof...(I)));
}
template <std::size_t... I> [[gnu::target("avx2,fma")]] double peak_avx2(std::index_sequence<I...>, float* out) {
  __m256 sum[] = {_mm256_set1_ps(static_cast<float>(I))...};
  const __m256 factor = _mm256_set1_ps(0.5F);
  for (Index step = 0; step < peak_steps; ++step) ((sum[I] = _mm256_fmadd_ps(sum[I], factor, factor)), ...);
  ((sum[0] = _mm256_add_ps(sum[0], sum[I])), ...);
  _mm256_storeu_ps(out, sum[0]);
  return static_cast<double>(peak_steps * 16 * static_cast<Index>(sizeof...(I)));
}
#endif
double peak(float* out) {
#if defined(__x86_64__)
  constexpr std::make_index_sequence<12> chains{};
  if (moepar::cpu::instruction_set() == moepar::cpu::InstructionSet::avx512) return peak_avx512(chains, out);
  if (moepar::cpu::instruction_set() == moepar::cpu::InstructionSet::avx2) return peak_avx2(chains, out);
#endif
  for (int i = 0; i < 16; ++i) out[i] = 0.5F;
  for (Index step = 0; step < peak_steps; ++step)
    for (int i = 0; i < 16; ++i) out[i] = std::fma(out[i], 0.5F, 0.5F);
  return static_cast<double>(peak_steps * 32);
}

//! One worker a core: the system otherwise may leave two on one.
void bind(moepar::cpu::Workers& workers) {
#if defined(__linux__)
  std::atomic<Index> bound{0};
  workers.parallel(workers.count(), [&](Index, Index worker) {
    cpu_set_t cores;
    CPU_ZERO(&cores);
    CPU_SET(static_cast<std::size_t>(worker) % std::thread::hardware_concurrency(), &cores);
    sched_setaffinity(0, sizeof(cores), &cores);
    for (++bound; bound.load() < workers.count();) std::this_thread::yield();  // an item for each worker
  });
#endif
}

//! The ninth tenth: what is reached when nobody else disturbs.
double usual(std::vector<double> values) {
  const auto at = values.begin() + static_cast<std::ptrdiff_t>(values.size() * 9 / 10);
  std::nth_element(values.begin(), at, values.end());
  return *at;
}

double seconds_each = 0.3;

struct Speed {
  double rate, share;  // GFLOP/s, of the peak
};

//! Of calls of `work`, which is `flops`, in turn with some microseconds of peak.
template <class Work> Speed measure(moepar::cpu::Workers& workers, double flops, const Work& work) {
  std::vector<float> values(static_cast<std::size_t>(workers.count() * 16));
  work();
  std::vector<double> rates, peaks;
  for (const double end = now() + seconds_each; now() < end || rates.size() < 5;) {
    const double start = now();
    std::atomic<double> peak_flops{0};
    workers.parallel(workers.count(), [&](Index item, Index) {
      const double flops_of_one = peak(values.data() + item * 16);
      peak_flops.store(flops_of_one * static_cast<double>(workers.count()));
    });
    const double middle = now();
    work();
    rates.push_back(flops / (now() - middle));
    peaks.push_back(peak_flops.load() / (middle - start));
  }
  return {usual(rates) * 1e-9, usual(rates) / usual(peaks)};
}

std::vector<float> random_values(Index count) {
  std::vector<float> values(static_cast<std::size_t>(count));
  std::uint32_t state = 1;
  for (float& value : values) {
    state = state * 1664525U + 1013904223U;
    value = static_cast<float>(state >> 8) * 0x1p-23F - 1.0F;
  }
  return values;
}

void report(moepar::cpu::Workers& workers, const std::vector<Index>& counts, Index outputs, Index columns) {
  const Index groups = static_cast<Index>(counts.size()),
              rows = std::accumulate(counts.begin(), counts.end(), Index{0});
  std::vector<float> input = random_values(rows * columns), output_gradient = random_values(rows * outputs),
                     weight = random_values(groups * outputs * columns), output = random_values(rows * outputs),
                     input_gradient = random_values(rows * columns), gradient(weight.size());
  const Matrix<float> x{input.data(), rows, columns}, dy{output_gradient.data(), rows, outputs},
      w{weight.data(), groups * outputs, columns}, y{output.data(), rows, outputs},
      dx{input_gradient.data(), rows, columns};
  const moepar::GradientParts<float> dw{gradient.data(), groups * outputs, columns, 1, 0};

  // each group cut into `granules` equal ones
  const auto cut = [&](Index granules, std::vector<Index>& begins, std::vector<std::uint8_t>& merges) {
    begins = {0};
    for (const Index count : counts)
      for (Index i = 0; i < granules; ++i)
        begins.push_back(begins.back() + count * (i + 1) / granules - count * i / granules);
    merges.resize(static_cast<std::size_t>(granules));
    moepar::GranuleTree{granules}.merge_table({0, granules}, merges);
    return moepar::RowGroups{groups, granules, 1, begins.data(), merges.data()};
  };
  std::vector<Index> begins, begins_of_8;
  std::vector<std::uint8_t> merges, merges_of_8;
  const moepar::RowGroups one = cut(1, begins, merges), eight = cut(8, begins_of_8, merges_of_8);

  const double flops = 2.0 * static_cast<double>(rows * outputs * columns);
  const Speed speeds[] = {measure(workers, flops, [&] { moepar::cpu::multiply(workers, one, x, w, y); }),
                          measure(workers, flops, [&] { moepar::cpu::multiply_transposed(workers, one, dy, w, dx); }),
                          measure(workers, flops, [&] { moepar::cpu::weight_gradient(workers, one, dy, x, dw); }),
                          measure(workers, flops, [&] { moepar::cpu::weight_gradient(workers, eight, dy, x, dw); })};
  std::printf("%2td  %2td groups, %4td rows  %5td x %-5td", workers.count(), groups, rows, outputs, columns);
  for (const Speed& speed : speeds) std::printf("  %6.1f %3.0f %%", speed.rate, 100 * speed.share);
  std::printf("\n");
}

}  // namespace

int main(int count, char** arguments) {
  if (count > 1) seconds_each = std::atof(arguments[1]);
  std::printf("%s, GFLOP/s and share of the peak\n", moepar::cpu::name_of(moepar::cpu::instruction_set()));
  std::printf(
      "threads, problem, N x K                     forward       dgrad         wgrad         wgrad, 8 granules\n");
  for (const Index threads : {1, 2}) {
    moepar::cpu::Workers workers{threads};
    bind(workers);
    const std::vector<Index> uneven{1024, 512, 256, 128, 64, 32, 16, 16};
    report(workers, uneven, 1024, 512);
    report(workers, uneven, 512, 256);
    report(workers, uneven, 256, 512);
    report(workers, {2048}, 256, 256);
    report(workers, std::vector<Index>(16, 16), 512, 512);
  }
  return 0;
}
