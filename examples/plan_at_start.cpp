// SPDX-License-Identifier: Apache-2.0
// Degrees that only the run knows: the legal ones are compiled, the asked one is picked, others are refused by name.
//
//   g++ -std=c++20 -O3 -I include examples/plan_at_start.cpp -pthread && ./a.out 4
#include <cstdio>
#include <cstdlib>
#include <moepar/moe.hpp>

namespace mp = moepar;

// The model with one number left open.
template <mp::Index ExpertDegree> struct Model : mp::Mixtral8x7B<ExpertDegree, /*ShardDegree=*/4> {};

using World = mp::World<24>;

int main(int argc, char** argv) {
  const mp::Index degree = argc > 1 ? std::atoll(argv[1]) : 2;
  const mp::Index launched = argc > 2 ? std::atoll(argv[2]) : World::size;  // what mpirun or srun started
  try {
    return mp::with_expert_degree<Model, World>(degree, [&]<class Job>() {
      mp::check_launched_world<Job>(launched);
      std::printf("expert degree %lld: %.1f GB on a rank\n", static_cast<long long>(Job::layout.expert),
                  static_cast<double>(Job::state().total()) * 1e-9);
      return 0;
    });
  } catch (const mp::Error& error) {
    std::fprintf(stderr, "%s\n", error.report().c_str());
    return 1;
  }
}
