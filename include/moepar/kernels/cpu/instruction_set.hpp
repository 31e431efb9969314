// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <atomic>
#include <cstdlib>
#include <moepar/core/error.hpp>
#include <string>
#include <string_view>
#include <utility>

// One binary for every x86-64: each kernel is compiled for several instruction sets and the best one is taken at run
// time. The bits do not depend on the choice. Compile everything with the same -m flags, or with none.
namespace moepar::cpu {

enum class InstructionSet { portable, avx2, avx512 };

inline const char* name_of(InstructionSet set) {
  constexpr const char* names[] = {"portable", "avx2", "avx512"};
  return names[static_cast<int>(set)];
}

//! The best that this machine has.
inline InstructionSet detected_instruction_set() {
#if defined(__x86_64__)
  if (__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") && __builtin_cpu_supports("avx512vl") &&
      __builtin_cpu_supports("avx512dq"))
    return InstructionSet::avx512;
  if (__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma")) return InstructionSet::avx2;
#endif
  return InstructionSet::portable;
}

namespace detail {

//! MOEPAR_INSTRUCTION_SET=portable|avx2|avx512 asks for less than the machine has. Throws Error for anything else.
inline InstructionSet asked_instruction_set() {
  const InstructionSet best = detected_instruction_set();
  const char* asked = std::getenv("MOEPAR_INSTRUCTION_SET");
  if (asked == nullptr || *asked == '\0') return best;
  for (const auto set : {InstructionSet::portable, InstructionSet::avx2, InstructionSet::avx512})
    if (std::string_view{asked} == name_of(set) && set <= best) return set;
  throw Error{"moepar: MOEPAR_INSTRUCTION_SET is '" + std::string{asked} + "', this machine has " + name_of(best) +
              ". Fix: unset it, or set portable, avx2 or avx512, not above what the machine has."};
}

inline std::atomic<InstructionSet>& chosen_instruction_set() {
  static std::atomic<InstructionSet> chosen{asked_instruction_set()};
  return chosen;
}

}  // namespace detail

//! The one in use.
inline InstructionSet instruction_set() { return detail::chosen_instruction_set().load(std::memory_order_relaxed); }

//! For tests and benchmarks: use `set`, not above detected_instruction_set(), while no kernel runs.
inline void use_instruction_set(InstructionSet set) { detail::chosen_instruction_set().store(set); }

// Body::run(...) is a plain function template marked [[gnu::always_inline]], without intrinsics and without
// products that the compiler could contract into a neighbouring sum (std::fma where one is meant). Compiled into each
// of these three, it becomes code for that instruction set, vectorised from -O3 (g++) or -O2 (clang) on.
namespace detail {

#if defined(__x86_64__)
template <class Body, class... Arguments>
[[gnu::target("avx512f,avx512bw,avx512vl,avx512dq,avx2,fma"), gnu::noinline]] void run_avx512(Arguments... arguments) {
  Body::run(arguments...);
}
template <class Body, class... Arguments>
[[gnu::target("avx2,fma"), gnu::noinline]] void run_avx2(Arguments... arguments) {
  Body::run(arguments...);
}
#endif

}  // namespace detail

//! Runs Body::run(arguments...) compiled for the instruction set in use. Arguments are copied: pass views.
template <class Body, class... Arguments> void dispatch(Arguments... arguments) {
#if defined(__x86_64__)
  if (instruction_set() == InstructionSet::avx512) return detail::run_avx512<Body>(arguments...);
  if (instruction_set() == InstructionSet::avx2) return detail::run_avx2<Body>(arguments...);
#endif
  Body::run(arguments...);
}

}  // namespace moepar::cpu
