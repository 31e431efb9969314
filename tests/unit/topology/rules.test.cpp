// SPDX-License-Identifier: Apache-2.0
// Each rule has two verdicts, the concept's and the check's at start. They agree on every small number.
#include <doctest/doctest.h>

#include <array>
#include <moepar/core/checks.hpp>
#include <moepar/core/predicates.hpp>
#include <utility>

namespace mp = moepar;
using mp::Index;

namespace {

constexpr Index first = -3, count = 13;  // -3 .. 9

template <class Check> bool passes(Check check) {
  try {
    check();
  } catch (const mp::Error&) {
    return false;
  }
  return true;
}

void expect(bool concept_holds, bool check_passes, Index a, Index b = 0) {
  CAPTURE(a);
  CAPTURE(b);
  CHECK(concept_holds == check_passes);
}

constexpr Index number(std::size_t position) { return first + static_cast<Index>(position); }

// verdict.operator()<a>() or <a, b>() against check(a) or check(a, b), for all numbers.
template <class Verdict, class Check> void agree_on_one(Verdict verdict, Check check) {
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    (expect(verdict.template operator()<number(I)>(), passes([&] { check(number(I)); }), number(I)), ...);
  }(std::make_index_sequence<count>{});
}

template <class Verdict, class Check> void agree_on_two(Verdict verdict, Check check) {
  const auto row = [&]<std::size_t I>() {
    [&]<std::size_t... J>(std::index_sequence<J...>) {
      (expect(verdict.template operator()<number(I), number(J)>(), passes([&] { check(number(I), number(J)); }),
              number(I), number(J)),
       ...);
    }(std::make_index_sequence<count>{});
  };
  [&]<std::size_t... I>(std::index_sequence<I...>) {
    (row.template operator()<I>(), ...);
  }(std::make_index_sequence<count>{});
}

}  // namespace

TEST_CASE("concept and check agree") {
  agree_on_one([]<Index A>() { return mp::world_has_ranks<A>; }, [](Index a) { mp::check_world_has_ranks(a); });
  agree_on_one([]<Index A>() { return mp::shard_degree_is_not_negative<A>; },
               [](Index a) { mp::check_shard_degree_is_not_negative(a); });
  agree_on_one([]<Index A>() { return mp::head_size_is_even<A>; }, [](Index a) { mp::check_head_size_is_even(a); });
  agree_on_one([]<Index A>() { return mp::sizes_are_positive<A>; },
               [](Index a) { mp::check_size_is_positive("size", a); });
  agree_on_two([]<Index A, Index B>() { return mp::degree_divides_expert_count<A, B>; },
               [](Index a, Index b) { mp::check_degree_divides_expert_count(a, b); });
  agree_on_two([]<Index A, Index B>() { return mp::degree_divides_world_size<A, B>; },
               [](Index a, Index b) { mp::check_degree_divides_world_size(a, b); });
  agree_on_two([]<Index A, Index B>() { return mp::shard_degree_divides_world_size<A, B>; },
               [](Index a, Index b) { mp::check_shard_degree_divides_world_size(a, b); });
  agree_on_two([]<Index A, Index B>() { return mp::top_k_within_expert_count<A, B>; },
               [](Index a, Index b) { mp::check_top_k_within_expert_count(a, b); });
  agree_on_two([]<Index A, Index B>() { return mp::heads_divide_hidden<A, B>; },
               [](Index a, Index b) { mp::check_heads_divide_hidden(a, b); });
  agree_on_two([]<Index A, Index B>() { return mp::kv_heads_divide_heads<A, B>; },
               [](Index a, Index b) { mp::check_kv_heads_divide_heads(a, b); });
  agree_on_two([]<Index A, Index B>() { return mp::expert_times_shard_degree_divides_world_size<A, B, 8>; },
               [](Index a, Index b) { mp::check_expert_times_shard_degree_divides_world_size(a, b, 8); });
  agree_on_two([]<Index A, Index B>() { return mp::expert_times_shard_degree_divides_world_size<A, 2, B>; },
               [](Index a, Index b) { mp::check_expert_times_shard_degree_divides_world_size(a, 2, b); });
}

TEST_CASE("a launcher's world") {
  CHECK_NOTHROW(mp::check_launched_ranks_are_world_size(8, 8));
  CHECK_THROWS_WITH_AS(mp::check_launched_ranks_are_world_size(7, 8),
                       "moepar::Deployment: the launcher must start as many ranks as World says (LaunchedRanks = 7, "
                       "WorldSize = 8). Fix: change one of the two numbers.",
                       mp::Error);
}
