// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <moepar/checkpoint/load_model.hpp>
#include <moepar/checkpoint/save_model.hpp>
#include <moepar/checkpoint/training_state.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/part_stack.hpp>
#include <moepar/device/numerics.hpp>
#include <moepar/nn/bind.hpp>
#include <moepar/optim/adam_w.hpp>
#include <moepar/optim/initialize.hpp>
#include <moepar/optim/initialized.hpp>
#include <moepar/optim/parameter_list.hpp>
#include <moepar/optim/training_step.hpp>
#include <moepar/parallel/host_rank.hpp>
#include <moepar/plan/step_cost.hpp>
#include <moepar/train/trainer_options.hpp>
#include <span>
#include <string>
#include <vector>

namespace moepar {

//! One sequence of a batch; not owned. targets[i] is the token that follows ids[i], negative where none is asked for.
struct Sequence {
  std::span<const std::int32_t> ids{};
  std::span<const std::int32_t> targets{};
};

//! Trains a language model on one rank of a job: all ranks make one, with equal options, and call its functions
//! together. Steps after the first allocate nothing.
template <class ModelType, class Communicator> class Trainer {
 public:
  using Model = ModelType;
  using Rank = HostRank<float, Communicator>;

  //! rank: see JobRank. Throws Error when the options do not fit the model.
  template <class JobRank>
  Trainer(JobRank& rank, const AdamW& optimizer, const TrainerOptions& options)
      : options_{detail::checked_options(options)},
        optimizer_{detail::checked_optimizer(optimizer)},
        binding_{bind_parameters(model_, rank.layout(), rank.rank())},
        cost_{cost_of_step<Model>(rank.layout(), rank.rank(), options.shape)},
        rank_{rank.layout(), rank.rank(), options.shape,  binding_,
              cost_.arenas,  rank.axes(), rank.workers(), options.numerics},
        parameters_{list_parameters(model_, rank.layout(), rank.rank())},
        state_{rank_} {
    if (options.numerics.padding_token < -1 || options.numerics.padding_token >= Model::facts.vocabulary)
      throw Error{"moepar::Trainer: padding_token is " + std::to_string(options.numerics.padding_token) +
                  " in a vocabulary of " + std::to_string(Model::facts.vocabulary) +
                  ". Fix: give a token of the model, or -1 for none."};
    require_distinct_streams(model_, options.seed);
    require_same(detail::settings_hash(options_, optimizer_, rank_.layout()),
                 "options of the trainer, or another optimizer or layout");
    if (options.start == Start::loaded)
      mark_unset(rank_, parameters_);
    else
      initialize(rank_, parameters_, options.seed, options.initial_deviation);
    const Index micro_steps = options.shape.micro_steps;
    const auto rows = static_cast<std::size_t>(micro_steps * options.shape.tokens());
    ids_.resize(rows);
    targets_.resize(rows);
    begins_.resize(static_cast<std::size_t>(micro_steps * (options.shape.sequences + 1)));
    losses_.resize(static_cast<std::size_t>(options.shape.tokens()));
    batch_.resize(static_cast<std::size_t>(micro_steps));
    for (Index m = 0; m < micro_steps; ++m)
      batch_[static_cast<std::size_t>(m)] = {ids_.data() + m * options.shape.tokens(),
                                             targets_.data() + m * options.shape.tokens(),
                                             begins_.data() + m * (options.shape.sequences + 1)};
  }
  Trainer(const Trainer&) = delete;
  Trainer& operator=(const Trainer&) = delete;

  //! Sequences of a step, over all ranks and micro-steps.
  [[nodiscard]] Index sequences() const { return rank_.split().granules(); }
  [[nodiscard]] Index steps() const { return state_.steps(); }

  //! One step over sequences 0..sequences()-1, of which this rank asks `source(i)` for its own. Sequences may be
  //! shorter than shape.length, also empty. Throws Error on all ranks, before anything is updated, when the loss or a
  //! gradient is not finite.
  template <class Source> StepOutcome step(const Source& source, double learning_rate) {
    if (!(learning_rate >= 0 && learning_rate <= 1e10))
      throw Error{"moepar::Trainer: step " + std::to_string(steps() + 1) + " was given the learning rate " +
                  std::to_string(learning_rate) + ". Fix: give a finite number of at least 0."};
    const auto rate = static_cast<std::uint32_t>(mix(hashed_bits(learning_rate)) >> 32);
    const StepOutcome outcome = differentiate(source, rate);
    const double clip =
        options_.clip > 0 && outcome.gradient_norm > options_.clip ? options_.clip / outcome.gradient_norm : 1.0;
    state_.step(rank_, parameters_, optimizer_, learning_rate, clip);
    return outcome;
  }
  //! With the learning rate of the optimizer.
  template <class Source> StepOutcome step(const Source& source) { return step(source, optimizer_.learning_rate); }

  //! The part of a step before the update: loss and gradients, which rank().kept_gradient then has. Nothing is learnt.
  template <class Source> StepOutcome gradients(const Source& source) { return differentiate(source, 0); }

  //! What a step makes smaller: cross entropy, auxiliary loss and z-loss with their coefficients.
  [[nodiscard]] double total_loss(const StepOutcome& outcome) const {
    const Numerics& numerics = options_.numerics;
    return outcome.loss + numerics.auxiliary_loss_coefficient * outcome.auxiliary_loss +
           numerics.z_loss_coefficient * outcome.z_loss;
  }

  //! Mean cross entropy of a target over `count` sequences; the same bits on every layout. Nothing is learnt.
  template <class Source> double evaluate(const Source& source, Index count) {
    if (count < 0)
      throw Error{"moepar::Trainer: " + std::to_string(count) +
                  " sequences cannot be evaluated. Fix: give a count of at least 0."};
    const Index per_rank = rank_.split().per_rank, per_round = rank_.split().world * per_rank;
    std::vector<double> own(size(2 * per_rank)), all(own.size() * size(rank_.split().world));
    std::vector<double> losses(size(count)), targets(size(count));
    for_each_round(source, count, [&](Index first, Matrix<float> hidden) {
      model_.score(rank_, hidden, batch_[0].targets, losses_.data());
      for (Index g = 0; g < per_rank; ++g) {
        double sum = 0, asked = 0;
        for (Index t = batch_[0].begins[g]; t < batch_[0].begins[g + 1]; ++t) {
          sum += losses_[size(t)];
          asked += batch_[0].targets[t] >= 0 ? 1 : 0;
        }
        own[size(2 * g)] = sum;
        own[size(2 * g + 1)] = asked;
      }
      rank_.axes().world.all_gather(std::span<const double>{own}, std::span<double>{all});
      for (Index i = 0; i < per_round && first + i < count; ++i) {
        losses[size(first + i)] = all[size(2 * i)];
        targets[size(first + i)] = all[size(2 * i + 1)];
      }
    });
    if (count == 0) return std::numeric_limits<double>::quiet_NaN();
    const auto total = [count](const std::vector<double>& values) {
      PartStack<double> stack{GranuleTree{count}};
      for (Index i = 0; i < count; ++i) stack.push({i, i + 1}, values[size(i)]);
      return stack.finish();
    };
    return total(losses) / total(targets);
  }

  //! Calls take(i, logits) for `count` sequences, each on the rank that computes it: logits has a row a token of
  //! sequence i, as many columns as the vocabulary, and lives until take returns.
  template <class Source, class Take> void logits(const Source& source, Index count, Take take) {
    const Index rows = options_.shape.tokens();
    for_each_round(source, count, [&](Index first, Matrix<float> hidden) {
      const auto all = rank_.arena().template take<float>(rows, Model::facts.vocabulary);
      model_.score(rank_, hidden, all);
      first += rank_.rank() * rank_.split().per_rank;
      for (Index g = 0; g < rank_.split().per_rank && first + g < count; ++g) {
        const Index begin = batch_[0].begins[g], end = batch_[0].begins[g + 1];
        if (begin < end) take(first + g, Matrix<const float>{all.row(begin), end - begin, all.columns});
      }
    });
  }

  //! Logits of the token after `ids`, which is at most shape.length long; the same on every rank.
  std::vector<float> next_token_logits(std::span<const std::int32_t> ids) {
    if (ids.empty())
      throw Error{"moepar::Trainer: logits after no token were asked for. Fix: give at least one token."};
    std::vector<float> last(size(Model::facts.vocabulary));
    // Every rank computes the one sequence, so that all have its logits.
    begin_use();
    take([&](Index i) { return i == 0 ? Sequence{ids, ids} : Sequence{}; }, 0, 1, batch_[0]);
    forward([&](Matrix<float> hidden) {
      const auto all = rank_.arena().template take<float>(options_.shape.tokens(), Model::facts.vocabulary);
      model_.score(rank_, hidden, all);
      std::copy_n(all.row(static_cast<Index>(ids.size()) - 1), last.size(), last.begin());
    });
    return last;
  }

  //! Hash of parameters and optimizer state, equal on every rank and layout.
  [[nodiscard]] std::uint64_t hash() {
    std::uint64_t own = 0;
    for_each_run_once(
        rank_, parameters_, [&](const ListedParameter& listed, Index copy, Index first, Index count, Index at) {
          const Parameter& parameter = listed.parameter;
          const std::span<const float> kept[] = {rank_.kept(parameter), state_.first(parameter, rank_),
                                                 state_.second(parameter, rank_)};
          constexpr const char* suffix[] = {"", "/first_moment", "/second_moment"};
          for (std::size_t i = 0; i < 3; ++i)
            own +=
                tensor_hash<float>(listed.names[size(copy)] + suffix[i], first, kept[i].subspan(size(at), size(count)));
        });
    std::vector<std::int64_t> all(size(rank_.layout().world));
    const auto mine = static_cast<std::int64_t>(own);
    rank_.axes().world.all_gather(std::span<const std::int64_t>{&mine, 1}, std::span<std::int64_t>{all});
    std::uint64_t sum = 0;
    for (const std::int64_t value : all) sum += static_cast<std::uint64_t>(value);
    return sum;
  }

  //! Throws Error on every rank unless all have the same hash. what: "text", for the error.
  void require_same(std::uint64_t hash, const std::string& what) {
    std::vector<std::int64_t> all(size(rank_.layout().world));
    const auto mine = static_cast<std::int64_t>(hash);
    rank_.axes().world.all_gather(std::span<const std::int64_t>{&mine, 1}, std::span<std::int64_t>{all});
    for (std::size_t other = 1; other < all.size(); ++other)
      if (all[other] != all[0])
        throw Error{"moepar::Trainer: rank " + std::to_string(other) + " has another " + what +
                    " than rank 0. Fix: give all ranks the same; only their share of the batch differs."};
  }

  //! What rank 0 says, on every rank.
  bool agree(bool value) {
    std::int64_t word = rank_.rank() == 0 && value ? 1 : 0;
    rank_.axes().world.sum(std::span<std::int64_t>{&word, 1});
    return word != 0;
  }

  //! Writes the parameters into a folder as Hugging Face has them (checkpoint/save_model.hpp); Error on all ranks.
  void save(const std::string& folder, const SaveOptions& options = {}) {
    save_model(rank_, model_, parameters_, folder, options);
  }

  //! Sets the parameters from such a folder, classic or fused (checkpoint/load_model.hpp); Error on all ranks. The
  //! optimizer starts anew.
  void load(const std::string& folder) {
    load_model(rank_, model_, parameters_, folder);
    state_.forget();
  }

  //! All that a training goes on from, for checkpoint/checkpoint_writer.hpp and checkpoint_loader.hpp.
  [[nodiscard]] TrainingState<Rank, Model> training_state() { return {rank_, model_, parameters_, state_}; }

  [[nodiscard]] Rank& rank() { return rank_; }
  [[nodiscard]] const Model& model() const { return model_; }
  [[nodiscard]] const StepCost& cost() const { return cost_; }
  [[nodiscard]] const TrainerOptions& options() const { return options_; }
  [[nodiscard]] const AdamW& optimizer() const { return optimizer_; }
  [[nodiscard]] const std::vector<ListedParameter>& parameters() const { return parameters_; }
  //! Of the last step: layers x experts, over the whole batch.
  [[nodiscard]] std::span<const std::int64_t> router_counts() const { return step_.router_counts(); }
  [[nodiscard]] RouterSizes routers() const { return binding_.routers; }

 private:
  static std::size_t size(Index count) { return static_cast<std::size_t>(count); }

  //! Copies sequences first, first + 1, ... of `count` into a micro-batch; those beyond the last are empty.
  template <class Source> void take(const Source& source, Index first, Index count, const MicroBatch& batch) {
    auto* ids = const_cast<std::int32_t*>(batch.ids);
    auto* targets = const_cast<std::int32_t*>(batch.targets);
    auto* begins = const_cast<Index*>(batch.begins);
    begins[0] = 0;
    for (Index i = 0; i < options_.shape.sequences; ++i) {
      const Sequence sequence = first + i < count ? source(first + i) : Sequence{};
      const auto length = static_cast<Index>(sequence.ids.size());
      if (length > options_.shape.length || sequence.targets.size() != sequence.ids.size())
        throw Error{"moepar::Trainer: sequence " + std::to_string(first + i) + " has " + std::to_string(length) +
                    " tokens and " + std::to_string(sequence.targets.size()) + " targets, the step has room for " +
                    std::to_string(options_.shape.length) +
                    " of each. Fix: cut sequences to shape.length, with one target a token."};
      std::copy(sequence.ids.begin(), sequence.ids.end(), ids + begins[i]);
      std::copy(sequence.targets.begin(), sequence.targets.end(), targets + begins[i]);
      for (const std::int32_t target : sequence.targets)
        if (target >= Model::facts.vocabulary)
          throw Error{"moepar::Trainer: sequence " + std::to_string(first + i) + " has the target " +
                      std::to_string(target) + " in a vocabulary of " + std::to_string(Model::facts.vocabulary) +
                      ". Fix: use the tokenizer that belongs to the model."};
      begins[i + 1] = begins[i] + length;
    }
  }

  //! Before anything is computed: a trainer whose values are loaded must have them all.
  void begin_use() {
    if (!set_) require_all_set(rank_, parameters_);
    set_ = true;
  }

  template <class Source> StepOutcome differentiate(const Source& source, std::uint32_t agreed) {
    begin_use();
    for (Index m = 0; m < options_.shape.micro_steps; ++m)
      take(source, rank_.split().granules_of(rank_.rank(), m).first, sequences(), batch_[size(m)]);
    rank_.set_training(true);
    const StepOutcome outcome = step_(rank_, model_, batch_, agreed);
    if (!std::isfinite(outcome.loss) || !std::isfinite(outcome.gradient_norm)) refuse(outcome);
    return outcome;
  }

  //! Outside of training: sequences 0..count-1 by rounds, each rank its share of a round. use(first, hidden): the
  //! first sequence of the round, and what the head reads, of batch_[0].
  template <class Source, class Use> void for_each_round(const Source& source, Index count, Use use) {
    begin_use();
    const Index per_rank = rank_.split().per_rank, per_round = rank_.split().world * per_rank;
    for (Index first = 0; first < count; first += per_round) {
      take(source, first + rank_.rank() * per_rank, count, batch_[0]);
      forward([&](Matrix<float> hidden) { use(first, hidden); });
    }
  }
  template <class Use> void forward(Use use) {
    rank_.set_training(false);
    rank_.reset();
    typename Model::template Record<float> record{};
    rank_.begin_micro_step(0, batch_[0].begins);
    const auto hidden = rank_.arena().template take<float>(options_.shape.tokens(), Model::facts.hidden);
    model_.forward(rank_, batch_[0].ids, hidden, record);
    use(hidden);
    rank_.arena().release(0);
    rank_.set_training(true);
  }

  [[nodiscard]] std::string name_of(Index number) const {
    for (const ListedParameter& listed : parameters_)
      if (listed.parameter.number == number) return listed.names[0];
    return "parameter " + std::to_string(number);
  }

  [[noreturn]] void refuse(const StepOutcome& outcome) {
    if (rank_.batch().targets == 0)
      throw Error{
          "moepar::Trainer: the batch of step " + std::to_string(steps() + 1) +
          " asks for no target, so there is no loss. Nothing was updated. Fix: give at least one sequence with a "
          "target that is not negative."};
    std::string where = "no norm met it";
    if (outcome.not_finite_norm >= 0) {
      where = std::string{outcome.not_finite_gradient ? "backward met it first at the output of "
                                                      : "forward met it first at the input of "} +
              name_of(outcome.not_finite_norm) + " on rank " + std::to_string(outcome.not_finite_rank);
    } else {
      std::size_t at = 0;
      const auto squares = step_.squared_norms();
      for_each_parameter(model_, [&](const Site& site, const Parameter&) {
        for (Index copy = 0; copy < site.copies; ++copy, ++at)
          if (!std::isfinite(squares[at]) && where == "no norm met it")
            where = "the first gradient that is not finite is that of " + site.name(copy);
      });
    }
    throw Error{"moepar::Trainer: step " + std::to_string(steps() + 1) + " has the loss " +
                std::to_string(outcome.loss) + " and the gradient norm " + std::to_string(outcome.gradient_norm) +
                "; " + where +
                ". Nothing was updated. Fix: look at the data of this step, or take a lower learning rate or clip."};
  }

  TrainerOptions options_;
  AdamW optimizer_;
  Model model_{};
  Binding binding_;
  StepCost cost_;
  Rank rank_;
  std::vector<ListedParameter> parameters_;
  AdamWState state_;
  TrainingStep step_{};
  bool set_ = false;  //!< every parameter has a value
  std::vector<std::int32_t> ids_{}, targets_{};
  std::vector<Index> begins_{};
  std::vector<double> losses_{};
  std::vector<MicroBatch> batch_{};
};

template <class JobRank>
Trainer(JobRank&, const AdamW&,
        const TrainerOptions&) -> Trainer<typename JobRank::Model, typename JobRank::Communicator>;

}  // namespace moepar
