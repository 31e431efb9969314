// SPDX-License-Identifier: Apache-2.0
#pragma once

// The whole library as far as it needs nothing but the standard library.

// IWYU pragma: begin_exports
#include <moepar/comm/communicator.hpp>
#include <moepar/comm/threads/thread_world.hpp>
#include <moepar/model.hpp>
#include <moepar/parallel/single_rank.hpp>
// IWYU pragma: end_exports
