// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <limits>
#include <moepar/checkpoint/save_tensors.hpp>
#include <moepar/core/error.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/index.hpp>
#include <moepar/core/part_stack.hpp>
#include <moepar/device/numerics.hpp>
#include <moepar/nn/bind.hpp>
#include <moepar/optim/adam_w.hpp>
#include <moepar/optim/initialize.hpp>
#include <moepar/optim/parameter_list.hpp>
#include <moepar/optim/training_step.hpp>
#include <moepar/parallel/host_rank.hpp>
#include <moepar/plan/step_cost.hpp>
#include <moepar/topology/step_shape.hpp>
#include <span>
#include <string>
#include <system_error>
#include <vector>

namespace moepar {

//! One sequence of a batch; not owned. targets[i] is the token that follows ids[i], negative where none is asked for.
struct Sequence {
  std::span<const std::int32_t> ids{};
  std::span<const std::int32_t> targets{};
};

struct TrainerOptions {
  StepShape shape{};                //!< of a rank: sequences a micro-step, their length, micro-steps
  std::uint64_t seed = 1;           //!< of initial values
  double initial_deviation = 0.02;  //!< of initial values
  double clip = 1.0;                //!< largest gradient norm; 0: none
  Numerics numerics{};
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
      : options_{checked(options)},
        optimizer_{checked(optimizer)},
        binding_{bind_parameters(model_, rank.layout(), rank.rank())},
        cost_{cost_of_step<Model>(rank.layout(), rank.rank(), options.shape)},
        rank_{rank.layout(), rank.rank(), options.shape,  binding_,
              cost_.arenas,  rank.axes(), rank.workers(), options.numerics},
        parameters_{list_parameters(model_, rank.layout(), rank.rank())},
        state_{rank_} {
    require_distinct_streams(model_, options.seed);
    require_same(settings_hash(), "options of the trainer, or another optimizer or layout");
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
    for (Index m = 0; m < options_.shape.micro_steps; ++m)
      take(source, rank_.split().granules_of(rank_.rank(), m).first, sequences(), batch_[static_cast<std::size_t>(m)]);
    if (!(learning_rate >= 0 && learning_rate <= 1e10))
      throw Error{"moepar::Trainer: step " + std::to_string(steps() + 1) + " was given the learning rate " +
                  std::to_string(learning_rate) + ". Fix: give a finite number of at least 0."};
    rank_.set_training(true);
    const auto rate = static_cast<std::uint32_t>(mix(hashed_bits(learning_rate)) >> 32);
    const StepOutcome outcome = step_(rank_, model_, batch_, rate);
    if (!std::isfinite(outcome.loss) || !std::isfinite(outcome.gradient_norm)) refuse(outcome);
    const double clip =
        options_.clip > 0 && outcome.gradient_norm > options_.clip ? options_.clip / outcome.gradient_norm : 1.0;
    state_.step(rank_, parameters_, optimizer_, learning_rate, clip);
    return outcome;
  }
  //! With the learning rate of the optimizer.
  template <class Source> StepOutcome step(const Source& source) { return step(source, optimizer_.learning_rate); }

  //! Mean cross entropy of a target over `count` sequences; the same bits on every layout. Nothing is learnt.
  template <class Source> double evaluate(const Source& source, Index count) {
    if (count < 0)
      throw Error{"moepar::Trainer: " + std::to_string(count) +
                  " sequences cannot be evaluated. Fix: give a count of at least 0."};
    const auto& split = rank_.split();
    const Index per_round = split.world * split.per_rank;
    std::vector<double> own(static_cast<std::size_t>(2 * split.per_rank)), all(own.size() * size(split.world));
    std::vector<double> losses(size(count)), targets(size(count));
    rank_.set_training(false);
    for (Index first = 0; first < count; first += per_round) {
      const Index mine = first + rank_.rank() * split.per_rank;
      take(source, mine, count, batch_[0]);
      score_batch();
      for (Index g = 0; g < split.per_rank; ++g) {
        double sum = 0, asked = 0;
        for (Index t = batch_[0].begins[g]; t < batch_[0].begins[g + 1]; ++t) {
          sum += losses_[size(t)];
          asked += batch_[0].targets[t] >= 0 ? 1 : 0;
        }
        own[size(2 * g)] = sum;
        own[size(2 * g + 1)] = asked;
      }
      gather(own, all);
      for (Index i = 0; i < per_round && first + i < count; ++i) {
        losses[size(first + i)] = all[size(2 * i)];
        targets[size(first + i)] = all[size(2 * i + 1)];
      }
    }
    rank_.set_training(true);
    if (count == 0) return std::numeric_limits<double>::quiet_NaN();
    const auto total = [count](const std::vector<double>& values) {
      PartStack<double> stack{GranuleTree{count}};
      for (Index i = 0; i < count; ++i) stack.push({i, i + 1}, values[size(i)]);
      return stack.finish();
    };
    return total(losses) / total(targets);
  }

  //! Logits of the token after `ids`, which is at most shape.length long; the same on every rank.
  std::vector<float> next_token_logits(std::span<const std::int32_t> ids) {
    if (ids.empty())
      throw Error{"moepar::Trainer: logits after no token were asked for. Fix: give at least one token."};
    std::vector<float> logits(static_cast<std::size_t>(Model::facts.vocabulary));
    rank_.set_training(false);
    take([&](Index i) { return i == 0 ? Sequence{ids, ids} : Sequence{}; }, 0, 1, batch_[0]);
    auto& arena = rank_.arena();
    const Index rows = options_.shape.tokens();
    forward(rows, [&](Matrix<float> hidden) {
      const auto all = arena.template take<float>(rows, Model::facts.vocabulary);
      model_.score(rank_, hidden, all);
      std::copy_n(all.row(static_cast<Index>(ids.size()) - 1), logits.size(), logits.begin());
    });
    rank_.set_training(true);
    return logits;
  }

  //! Hash of parameters and optimizer state, equal on every rank and layout.
  [[nodiscard]] std::uint64_t hash() {
    std::uint64_t own = 0;
    for (const ListedParameter& listed : parameters_) {
      const Parameter& parameter = listed.parameter;
      if (rank_.held(parameter.placement).replicas.rank != 0) continue;  // counted where it is kept first
      const std::span<const float> kept[] = {rank_.kept(parameter), state_.first(parameter, rank_),
                                             state_.second(parameter, rank_)};
      constexpr const char* suffix[] = {"", "/first_moment", "/second_moment"};
      listed.for_each_run([&](Index copy, Index first, Index count, Index at) {
        for (std::size_t i = 0; i < 3; ++i)
          own +=
              tensor_hash<float>(listed.names[size(copy)] + suffix[i], first, kept[i].subspan(size(at), size(count)));
      });
    }
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

  //! Writes the parameters into folder/model.safetensors, under their Hugging Face names. Throws Error on all ranks
  //! when that fails.
  void save(const std::filesystem::path& folder) {
    if (rank_.rank() == 0) {
      std::error_code error;
      std::filesystem::create_directories(folder, error);
      if (error)
        throw Error{"moepar::Trainer: the folder " + folder.string() + " could not be made (" + error.message() +
                    "). Fix: save where you may write."};
    }
    save_tensors(rank_, model_, folder / "model.safetensors");
  }

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

  static const TrainerOptions& checked(const TrainerOptions& options) {
    const StepShape& shape = options.shape;
    if (shape.sequences < 1 || shape.length < 1 || shape.micro_steps < 1 || shape.receive_rows < 0)
      throw Error{"moepar::Trainer: the step has " + std::to_string(shape.sequences) + " sequences of " +
                  std::to_string(shape.length) + " tokens a rank, " + std::to_string(shape.micro_steps) +
                  " micro-steps and receive_rows " + std::to_string(shape.receive_rows) +
                  ". Fix: give at least 1 of the first three, and 0 or more receive_rows."};
    constexpr Index most = Index{1} << 31;
    if (shape.sequences > most / shape.length || shape.sequences > (Index{1} << 20) / shape.micro_steps)
      throw Error{
          "moepar::Trainer: " + std::to_string(shape.sequences) + " sequences of " + std::to_string(shape.length) +
          " tokens a rank, " + std::to_string(shape.micro_steps) +
          " micro-steps are too many. Fix: at most 2^31 tokens a micro-step and 2^20 sequences a step on a rank."};
    const Numerics& numerics = options.numerics;
    const auto fits = [](double value, double least) { return value >= least && value <= 1e30; };
    if (!fits(options.clip, 0) || !fits(options.initial_deviation, 0) || !fits(numerics.norm_epsilon, 0) ||
        !fits(numerics.rotary_theta, 1) || !fits(numerics.auxiliary_loss_coefficient, 0) ||
        !fits(numerics.z_loss_coefficient, 0))
      throw Error{"moepar::Trainer: clip " + std::to_string(options.clip) + ", initial_deviation " +
                  std::to_string(options.initial_deviation) + ", norm_epsilon " +
                  std::to_string(numerics.norm_epsilon) + ", rotary_theta " + std::to_string(numerics.rotary_theta) +
                  ", auxiliary_loss_coefficient " + std::to_string(numerics.auxiliary_loss_coefficient) +
                  ", z_loss_coefficient " + std::to_string(numerics.z_loss_coefficient) +
                  ": one of them cannot be. Fix: give finite numbers of at least 0, rotary_theta of at least 1."};
    if (shape.precision != Precision::f32)
      throw Error{"moepar::Trainer: training in bf16 is not here yet. Fix: use Precision::f32."};
    return options;
  }

  static const AdamW& checked(const AdamW& optimizer) {
    const auto rate = [](double value) { return value >= 0 && value <= 1e10; };
    const auto beta = [](double value) { return value >= 0 && value < 1; };
    if (!rate(optimizer.learning_rate) || !beta(optimizer.beta1) || !beta(optimizer.beta2) ||
        !(optimizer.epsilon > 0 && optimizer.epsilon < 1) || !rate(optimizer.weight_decay))
      throw Error{
          "moepar::AdamW: learning_rate " + std::to_string(optimizer.learning_rate) + ", beta1 " +
          std::to_string(optimizer.beta1) + ", beta2 " + std::to_string(optimizer.beta2) + ", epsilon " +
          std::to_string(optimizer.epsilon) + ", weight_decay " + std::to_string(optimizer.weight_decay) +
          ": one of them cannot be. Fix: betas in [0, 1), epsilon in (0, 1), the others finite and at least 0."};
    return optimizer;
  }

  //! Of all that must be alike on every rank.
  [[nodiscard]] std::uint64_t settings_hash() const {
    std::uint64_t hash = options_.seed;
    const auto add = [&](double value) { hash = mix(hash + 1) ^ hashed_bits(value); };
    const StepShape& shape = options_.shape;
    const Numerics& numerics = options_.numerics;
    for (const double value :
         {options_.initial_deviation, options_.clip, numerics.norm_epsilon, numerics.rotary_theta,
          numerics.auxiliary_loss_coefficient, numerics.z_loss_coefficient, optimizer_.learning_rate, optimizer_.beta1,
          optimizer_.beta2, optimizer_.epsilon, optimizer_.weight_decay, optimizer_.decay_norms ? 1.0 : 0.0})
      add(value);
    const Layout& layout = rank_.layout();
    for (const Index value : {shape.sequences, shape.length, shape.micro_steps, shape.receive_rows, layout.world,
                              layout.expert, layout.dense_shard, layout.expert_shard})
      add(static_cast<double>(value));
    for (const Index factor : shape.factors) add(static_cast<double>(factor));
    return hash;
  }

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

  template <class Use> void forward(Index rows, Use use) {
    rank_.reset();
    typename Model::template Record<float> record{};
    rank_.begin_micro_step(0, batch_[0].begins);
    const auto hidden = rank_.arena().template take<float>(rows, Model::facts.hidden);
    model_.forward(rank_, batch_[0].ids, hidden, record);
    use(hidden);
    rank_.arena().release(0);
  }
  void score_batch() {
    forward(options_.shape.tokens(),
            [&](Matrix<float> hidden) { model_.score(rank_, hidden, batch_[0].targets, losses_.data()); });
  }
  void gather(const std::vector<double>& own, std::vector<double>& all) {
    rank_.axes().world.all_gather(std::span<const double>{own}, std::span<double>{all});
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
              parameters_[size(outcome.not_finite_norm)].names[0] + " on rank " +
              std::to_string(outcome.not_finite_rank);
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
  std::vector<std::int32_t> ids_{}, targets_{};
  std::vector<Index> begins_{};
  std::vector<double> losses_{};
  std::vector<MicroBatch> batch_{};
};

template <class JobRank>
Trainer(JobRank&, const AdamW&,
        const TrainerOptions&) -> Trainer<typename JobRank::Model, typename JobRank::Communicator>;

}  // namespace moepar
