// SPDX-License-Identifier: Apache-2.0
// What a user's first program might be. Each way of using the library builds this file from an outside folder.
#include <cstdio>
#include <moepar/moe.hpp>
#include <moepar/version.hpp>
#include <thread>

namespace mp = moepar;

struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<64, 128>, 8>, 4> {};
struct MoeLayer : mp::Moe<mp::Router<mp::TopKSoftmax, 2>, Experts> {};
struct Model : mp::HybridShard<mp::Repeat<MoeLayer, 2>, 2> {};
using Job = mp::Deployment<Model, mp::World<8>>;
static_assert(Job::layout.expert_group(5) == mp::Group{.size = 4, .rank = 1, .stride = 1});

int main() {
  mp::Index parameters = 0;
  std::thread{[&] { parameters = Job::parameters().total(); }}.join();  // threads are part of what is linked
  std::printf("moepar %d.%d.%d: %lld parameters\n", mp::version.major_number, mp::version.minor_number,
              mp::version.patch_number, static_cast<long long>(parameters));
  return parameters == 2 * (8 * 64 + 8 * 3 * 64 * 128) ? 0 : 1;
}
