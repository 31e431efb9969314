// SPDX-License-Identifier: Apache-2.0
// The golden hashes of a small training: every compiler, optimisation level, contraction mode and instruction set must
// give the same. A change that moves them raises bits_version (core/bits_version.hpp).
//   g++ -std=c++20 -O3 -I include tests/laws/golden.cpp -o golden -pthread && ./golden
#include <cinttypes>
#include <cstdio>
#include <moepar/moe.hpp>

#include "law_training.hpp"

namespace mp = moepar;

namespace {

struct Golden {
  const char* name;
  law::Bits bits;
};

int failures = 0;

void compare(const Golden& golden, const law::Setting& setting, const law::Bits& bits) {
  const bool same = bits == golden.bits;
  failures += same ? 0 : 1;
  std::printf("%-16s %-64s state %016" PRIx64 "  reports %016" PRIx64 "%s\n", golden.name,
              law::text_of(setting).c_str(), bits.state, bits.reports, same ? "" : "  NOT the golden ones");
}

template <class Policy> void train(const Golden& golden) {
  const law::Setting settings[] = {
      {},
      {.layout = mp::layout_of({.expert = 2, .shard = 2}, 4), .workers = 2},
      {.layout = mp::layout_of({.expert = 3, .shard = 1}, 6), .micro_steps = 2},
  };
  for (const auto set :
       {mp::cpu::InstructionSet::portable, mp::cpu::InstructionSet::avx2, mp::cpu::InstructionSet::avx512}) {
    if (set > mp::cpu::detected_instruction_set()) continue;
    mp::cpu::use_instruction_set(set);
    std::printf("%s\n", mp::cpu::name_of(set));
    for (const law::Setting& setting : settings) compare(golden, setting, law::train<law::Model<Policy>>(setting));
  }
}

}  // namespace

int main() {
  static_assert(mp::bits_version == 1, "new bits: print the hashes, look at why they moved, and put them here");
  train<mp::AuxiliaryLoss>({"auxiliary loss", {0xc1dc592436ca4bcd, 0x84396440a4b53b38}});
  train<mp::Sinkhorn>({"Sinkhorn", {0xbeb58199ff465ef2, 0x6a3f4c13f679da56}});
  std::printf("%s\n", failures == 0 ? "all golden" : "FAILED");
  return failures == 0 ? 0 : 1;
}
