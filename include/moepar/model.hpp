// SPDX-License-Identifier: Apache-2.0
#pragma once

// Models as types, their rules and their plans: moepar/moe.hpp without what runs, and half its compile time. Enough for
// a program that plans.

// IWYU pragma: begin_exports
#include <moepar/core/bf16.hpp>
#include <moepar/core/checks.hpp>
#include <moepar/core/elementary.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/ieee.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/normal.hpp>
#include <moepar/core/part_stack.hpp>
#include <moepar/core/predicates.hpp>
#include <moepar/core/random.hpp>
#include <moepar/core/row_sum.hpp>
#include <moepar/core/rules.hpp>
#include <moepar/device/counting_device.hpp>
#include <moepar/device/numerics.hpp>
#include <moepar/device/rank.hpp>
#include <moepar/models/mixtral.hpp>
#include <moepar/models/mixtral_sizes.hpp>
#include <moepar/nn/attention.hpp>
#include <moepar/nn/causal_lm.hpp>
#include <moepar/nn/embedding.hpp>
#include <moepar/nn/experts.hpp>
#include <moepar/nn/linear.hpp>
#include <moepar/nn/moe.hpp>
#include <moepar/nn/repeat.hpp>
#include <moepar/nn/rms_norm.hpp>
#include <moepar/nn/swiglu.hpp>
#include <moepar/nn/transformer_block.hpp>
#include <moepar/nn/walk.hpp>
#include <moepar/parallel/expert_parallel.hpp>
#include <moepar/parallel/hybrid_shard.hpp>
#include <moepar/parallel/recompute.hpp>
#include <moepar/plan/at_start.hpp>
#include <moepar/plan/deployment.hpp>
#include <moepar/plan/step_cost.hpp>
#include <moepar/routing/router.hpp>
#include <moepar/topology/layout.hpp>
#include <moepar/topology/resolve.hpp>
#include <moepar/topology/world.hpp>
#include <moepar/version.hpp>
// IWYU pragma: end_exports
