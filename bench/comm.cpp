// SPDX-License-Identifier: Apache-2.0
// What the thread transport costs: a barrier, and how fast reduce_scatter and all_gather go through memory.
#include <chrono>
#include <cstdio>
#include <cstring>
#include <moepar/comm/threads/thread_world.hpp>
#include <span>
#include <vector>

namespace {

using moepar::Index;

// Seconds a round of `call`, the fastest of some times, as the first member sees it.
template <class Communicator, class Call> double seconds(Communicator& all, int rounds, Call call) {
  double best = 1e9;
  for (int time = 0; time < 5; ++time) {
    all.barrier();
    const auto start = std::chrono::steady_clock::now();
    for (int round = 0; round < rounds; ++round) call();
    all.barrier();
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    best = took.count() / rounds < best ? took.count() / rounds : best;
  }
  return best;
}

void measure(Index ranks, Index elements) {
  moepar::ThreadWorld{ranks}.run([&](moepar::ThreadWorld::Rank& rank) {
    auto all = rank.communicator();
    const double barrier = seconds(all, ranks <= 2 ? 20000 : 500, [&] { all.barrier(); });
    std::vector<float> whole(static_cast<std::size_t>(elements), 1.0f);
    std::vector<float> shard(static_cast<std::size_t>(elements / ranks)), copied(shard.size());
    const std::vector<Index> counts(static_cast<std::size_t>(ranks), elements / ranks);
    const moepar::GranuleTree tree{ranks};
    const moepar::GranuleRange granule{rank.rank(), rank.rank() + 1};
    moepar::GranuleRange left[1];
    const moepar::ReducePiece<float> reduced{
        .own = whole.data(), .stride = elements, .counts = counts.data(), .sums = shard.data()};
    const double reduce = seconds(all, 5, [&] {
      all.reduce_scatter(tree, {&granule, 1}, std::span<const moepar::ReducePiece<float>>{&reduced, 1},
                         std::span<moepar::GranuleRange>{left});
    });
    const double copy =
        seconds(all, 5, [&] { std::memcpy(copied.data(), shard.data(), shard.size() * sizeof(float)); });
    const double gather =
        seconds(all, 5, [&] { all.all_gather(std::span<const float>{shard}, std::span<float>{whole}); });
    if (rank.rank() != 0) return;
    // Bytes read and written by all ranks together.
    const double bytes = sizeof(float) * static_cast<double>(elements);
    std::printf(
        "%2d ranks, %9d floats: barrier %8.3f us, reduce_scatter %6.2f GB/s, all_gather %6.2f GB/s, memcpy %6.2f "
        "GB/s\n",
        static_cast<int>(ranks), static_cast<int>(elements), barrier * 1e6,
        bytes * static_cast<double>(ranks + 1) / reduce * 1e-9, bytes * static_cast<double>(2 * ranks) / gather * 1e-9,
        bytes * 2 / copy * 1e-9);
  });
}

}  // namespace

int main() {
  for (const Index ranks : {1, 2, 4, 8})
    for (const Index elements : {1 << 14, 1 << 24}) measure(ranks, elements);
}
