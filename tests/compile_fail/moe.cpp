// SPDX-License-Identifier: Apache-2.0
// Router, experts and what joins them.
#include <moepar/model.hpp>

namespace mp = moepar;

struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<64, 128>, 8>, 2> {};

#if MOEPAR_CASE == 1
// expected-error-1 {{moepar::Moe: TopK must be between 1 and the number of experts.}}
// expected-number-1 {{TopK = 9}}
// expected-number-1 {{ExpertCount = 8}}
struct Layer : mp::Moe<mp::Router<mp::Sinkhorn, 9>, Experts> {};
#elif MOEPAR_CASE == 2
// expected-error-2 {{moepar::Moe: TopK must be between 1 and the number of experts.}}
// expected-number-2 {{TopK = 0}}
struct Layer : mp::Moe<mp::Router<mp::Sinkhorn, 0>, Experts> {};
#elif MOEPAR_CASE == 3
// The two arguments swapped.
// expected-error-3 {{moepar::Moe: the first argument is the router.}}
struct Layer : mp::Moe<Experts, mp::Router<mp::Sinkhorn, 2>> {};
#elif MOEPAR_CASE == 4
// A feed-forward where experts belong.
// expected-error-4 {{moepar: this place takes experts.}}
struct Layer : mp::Moe<mp::Router<mp::Sinkhorn, 2>, mp::SwiGlu<64, 128>> {};
#elif MOEPAR_CASE == 5
// expected-error-5 {{moepar: this place takes experts.}}
struct OneExpert : mp::ExpertParallel<mp::SwiGlu<64, 128>, 2> {};
struct Layer : mp::Moe<mp::Router<mp::Sinkhorn, 2>, OneExpert> {};
#elif MOEPAR_CASE == 6
// Any class in place of a policy.
// expected-error-6 {{moepar::Router: Policy must be a routing policy.}}
struct Greedy {};
struct Layer : mp::Moe<mp::Router<Greedy, 2>, Experts> {};
#else
struct Greedy : mp::RouterPolicy {};
struct Layer : mp::Moe<mp::Router<Greedy, 2>, Experts> {};
#endif

struct Block : mp::Recompute<mp::TransformerBlock<mp::Attention<64, 8, 2>, Layer>> {};
struct Model : mp::HybridShard<mp::CausalLm<320, mp::Repeat<Block, 4>>, 2> {};
static_assert(mp::Deployment<Model, mp::World<8>>::parameters().total() >= 0);
