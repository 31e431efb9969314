// SPDX-License-Identifier: Apache-2.0
#pragma once

// The whole library as far as it needs nothing but the standard library.

// IWYU pragma: begin_exports
#include <moepar/checkpoint/load_model.hpp>
#include <moepar/checkpoint/save_model.hpp>
#include <moepar/comm/communicator.hpp>
#include <moepar/comm/threads/thread_world.hpp>
#include <moepar/core/bits_version.hpp>
#include <moepar/data/byte_tokenizer.hpp>
#include <moepar/data/character_tokenizer.hpp>
#include <moepar/data/row_order.hpp>
#include <moepar/data/text_file.hpp>
#include <moepar/data/token_blocks.hpp>
#include <moepar/data/unigram.hpp>
#include <moepar/model.hpp>
#include <moepar/optim/adam_w.hpp>
#include <moepar/optim/initialize.hpp>
#include <moepar/optim/initialized.hpp>
#include <moepar/optim/parameter_list.hpp>
#include <moepar/optim/tied.hpp>
#include <moepar/parallel/host_rank.hpp>
#include <moepar/parallel/single_rank.hpp>
#include <moepar/train/fit.hpp>
#include <moepar/train/run.hpp>
#include <moepar/train/sample.hpp>
#include <moepar/train/stop_signal.hpp>
#include <moepar/train/trainer.hpp>
#include <moepar/train/trainer_options.hpp>
// IWYU pragma: end_exports
