// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <bit>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <filesystem>
#include <future>
#include <moepar/checkpoint/checkpoint_facts.hpp>
#include <moepar/checkpoint/disk_file.hpp>
#include <moepar/checkpoint/hash128.hpp>
#include <moepar/checkpoint/manifest.hpp>
#include <moepar/checkpoint/run_folder.hpp>
#include <moepar/checkpoint/run_lock.hpp>
#include <moepar/checkpoint/run_long_together.hpp>
#include <moepar/checkpoint/run_together.hpp>
#include <moepar/checkpoint/training_parts.hpp>
#include <moepar/checkpoint/training_state.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/utf8.hpp>
#include <optional>
#include <span>
#include <string>
#include <system_error>
#include <utility>
#include <vector>

namespace moepar {

struct CheckpointOptions {
  Index keep = 2;            //!< complete checkpoints that stay, at least 1
  bool asynchronous = true;  //!< false: save() returns when the checkpoint is complete
};

//! Saves the state of a training into the folder of its run, again and again; all ranks make one and call its functions
//! together. At every moment the folder has the last complete checkpoint, whatever dies.
//!
//!   mp::CheckpointWriter writer{trainer.training_state(), "run"};
//!   for (...) {
//!     trainer.step(...);
//!     writer.poll();
//!     if (step % 1000 == 0) writer.save({{"seed", "1234"}});
//!   }
//!   writer.finish();
//!
//! save() copies what this rank keeps; a thread writes the copy while training goes on. The copy has a buffer of its
//! own, made at the first save: 12 bytes for each parameter that this rank keeps first. Errors (a full disk, a folder
//! that is gone) are thrown on all ranks alike, name rank, file and reason, and leave no half-written checkpoint: older
//! ones and the training are as before, and a later save may succeed.
template <class Rank, class Model> class CheckpointWriter {
  static_assert(std::endian::native == std::endian::little, "moepar: files are written as memory has them.");

 public:
  //! state: must outlive this. run: made if it is not there, and locked while this lives. Throws Error on all ranks
  //! when another run has the folder.
  CheckpointWriter(const TrainingState<Rank, Model>& state, std::string run, const CheckpointOptions& options = {})
      : state_{state}, run_{std::move(run)}, options_{options} {
    run_together(world(), [&] {
      if (options.keep < 1)
        throw Error{"moepar: " + std::to_string(options.keep) +
                    " checkpoints cannot be kept. Fix: keep at least the newest one."};
      file_ = part_file(state.parameters, state.rank.layout(), state.rank.rank());
      if (!first()) return;
      std::error_code error;
      std::filesystem::create_directories(run_, error);
      if (error)
        throw Error{"moepar: the folder '" + run_ + "' of a run could not be made (" + error.message() +
                    "). Fix: check that the folder above it may be written to."};
      lock_.emplace(run_);
    });
  }
  CheckpointWriter(const CheckpointWriter&) = delete;
  CheckpointWriter& operator=(const CheckpointWriter&) = delete;
  //! A save that is not finished is given up once this rank's file work ends; the next save tidies up.
  ~CheckpointWriter() = default;

  //! Saves the state as it is now, as the checkpoint of step state.optimizer.steps(). Waits for the save before it, and
  //! throws what went wrong with that one. facts: those of rank 0 are saved; UTF-8.
  void save(const Facts& facts = {}) {
    finish();
    step_ = state_.optimizer.steps();
    run_or_tidy([&] {
      for (const auto& [name, text] : facts)
        if (detail::utf8_error(name) != std::string::npos || detail::utf8_error(text) != std::string::npos)
          throw Error{"moepar: the fact '" + name + "' of a checkpoint is not UTF-8. Fix: give text."};
      take_snapshot();
      if (!first()) return;
      manifest_ = {.step = step_,
                   .layout = state_.rank.layout(),
                   .beta1_power = state_.optimizer.beta1_power(),
                   .beta2_power = state_.optimizer.beta2_power(),
                   .facts = facts};
      detail::remove_leftovers(run_);
      make_folder(partial());
    });
    phase_ = Phase::parts;
    start([this] { write_parts(); });
    if (!options_.asynchronous) finish();
  }

  //! Brings a pending save forward, without waiting. To be called once a step: costs one meeting of all ranks while a
  //! save is pending, else nothing. Throws Error when the save has failed, which then is no longer pending.
  void poll() { advance(std::chrono::milliseconds{0}); }

  //! Waits until no save is pending. Throws as poll() does.
  void finish() {
    // Ranks meet again and again, so that none waits for another's disk until the deadline of a collective.
    while (pending()) advance(std::chrono::milliseconds{100});
  }

  //! Whether a save is under way; the same on every rank.
  [[nodiscard]] bool pending() const { return phase_ != Phase::none; }

 private:
  enum class Phase { none, parts, manifest };

  auto& world() { return state_.rank.axes().world; }
  [[nodiscard]] bool first() const { return state_.rank.rank() == 0; }
  [[nodiscard]] std::string partial() const { return step_path(run_, step_, StepState::partial); }

  void take_snapshot() {
    values_.resize(static_cast<std::size_t>(file_.bytes - static_cast<Index>(file_.header.size())) / 4);
    std::size_t at = 0;
    for (const TrainingPart& part : file_.parts) {
      const Parameter& parameter = state_.parameters[part.parameter].parameter;
      const std::span<const float> all = part.kind == TensorKind::weight ? state_.rank.kept(parameter)
                                         : part.kind == TensorKind::first_moment
                                             ? state_.optimizer.first(parameter, state_.rank)
                                             : state_.optimizer.second(parameter, state_.rank);
      std::copy_n(all.begin() + part.kept, part.count, values_.begin() + static_cast<Index>(at));
      at += static_cast<std::size_t>(part.count);
    }
  }

  //! run_together; after an Error there is no half-written checkpoint.
  template <class Body> void run_or_tidy(Body body) {
    try {
      run_together(world(), body);
    } catch (...) {
      std::error_code ignored;
      if (first()) std::filesystem::remove_all(partial(), ignored);
      throw;
    }
  }

  //! Runs work on a thread, whose errors job_.get() throws; also that there is no thread.
  template <class Work> void start(Work work) {
    try {
      job_ = std::async(std::launch::async, std::move(work));
    } catch (...) {
      std::promise<void> failed;
      failed.set_exception(std::current_exception());
      job_ = failed.get_future();
    }
  }

  void advance(std::chrono::milliseconds patience) {
    if (!pending() || !ended_together(world(), job_, patience)) return;
    const Phase ended = std::exchange(phase_, Phase::none);
    run_or_tidy([&] {
      if (job_.valid()) job_.get();
    });
    if (ended == Phase::manifest) return;
    gather_hashes();
    phase_ = Phase::manifest;
    if (first()) start([this] { publish(); });
  }

  //! On the thread: this rank's file.
  void write_parts() {
    DiskFile file = DiskFile::create(partial() + '/' + part_file_name(state_.rank.rank()));
    const auto header_bytes = static_cast<Index>(file_.header.size());
    file.write_at(std::as_bytes(std::span{file_.header}), 0);
    file.write_at(std::as_bytes(std::span{values_}), header_bytes);
    file.sync();
    file.close();
    hashes_.clear();
    for (const TrainingPart& part : file_.parts)
      hashes_.push_back(hash128(std::as_bytes(std::span{values_}.subspan(
          static_cast<std::size_t>(part.begin - header_bytes) / 4, static_cast<std::size_t>(part.count)))));
  }

  //! Afterwards rank 0 has the hashes of all ranks, in order.
  void gather_hashes() {
    if constexpr (Rank::communicates) {
      static_assert(sizeof(Hash128) == 2 * sizeof(std::int64_t));
      std::vector<Index> counts(static_cast<std::size_t>(world().size()));
      const auto own = static_cast<Index>(2 * hashes_.size());
      world().all_gather(std::span<const Index>{&own, 1}, std::span{counts});
      std::vector<std::int64_t> words, all;
      for (const Hash128& hash : hashes_)
        for (const std::uint64_t word : {hash.high, hash.low}) words.push_back(static_cast<std::int64_t>(word));
      Index total = 0;
      for (const Index count : counts) total += count;
      all.resize(static_cast<std::size_t>(total));
      world().all_gather(std::span<const std::int64_t>{words}, std::span{all}, std::span<const Index>{counts});
      if (!first()) return;
      hashes_.clear();
      for (std::size_t i = 0; i < all.size(); i += 2)
        hashes_.push_back({static_cast<std::uint64_t>(all[i]), static_cast<std::uint64_t>(all[i + 1])});
    }
  }

  //! On the thread of rank 0, when all files are on the disk: the checkpoint gets its manifest, then its name.
  void publish() {
    set_parts(manifest_, state_.model, hashes_);
    write_whole_file(partial() + "/manifest.json", manifest_text(manifest_));
    sync_folder(partial());
    detail::publish_step(run_, step_);
    sync_folder(run_);
    detail::keep_newest(run_, step_, options_.keep);
    manifest_ = {};
  }

  TrainingState<Rank, Model> state_;
  std::string run_;
  CheckpointOptions options_;
  PartFile file_{};
  std::optional<RunLock> lock_{};  //!< on rank 0
  Index step_ = 0;                 //!< of the last save
  Phase phase_ = Phase::none;      //!< the same on every rank
  std::vector<float> values_{};    //!< the snapshot, as the file has it
  std::vector<Hash128> hashes_{};  //!< of this rank's parts, then on rank 0 of all
  Manifest manifest_{};            //!< on rank 0, of the save that is pending
  std::future<void> job_{};        //!< last: its thread uses what is above and ends before it
};

}  // namespace moepar
