// SPDX-License-Identifier: Apache-2.0
// Trains a toy Mixture-of-Experts model (dense layers, RMS norm, top-2 experts with capacity and auxiliary loss, empty
// sequences, an expert without tokens, clipping, AdamW) under every layout of 1, 2, 3, 4, 6 and 8 simulated ranks, and
// demands one hash for all of them: the golden one. Per-rank running sums must give more than one, which shows that the
// hash can tell. Any compiler, optimisation level and contraction mode must print the same:
//   g++ -std=c++20 -O2 -I include tests/bits/toy_training.cpp -o toy_training && ./toy_training
// Rows are computed one by one (a row never depends on its neighbours); what a layout changes is who adds which rows.
#include <algorithm>
#include <bit>
#include <cinttypes>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <numeric>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <moepar/core/elementary.hpp>
#include <moepar/core/granule_tree.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/ieee.hpp>
#include <moepar/core/normal.hpp>
#include <moepar/core/part_stack.hpp>
#include <moepar/core/random.hpp>
#include <moepar/core/row_sum.hpp>

namespace {

using moepar::GranuleRange;
using moepar::GranuleTree;
using moepar::Index;
using moepar::Part;
using moepar::PartStack;
using moepar::sigmoid;
using Row = std::vector<float>;

constexpr std::size_t hidden = 8, vocabulary = 16, experts = 24, layers = 2;
constexpr Index top_k = 2, longest = 6, capacity = 2;
constexpr std::size_t norm_block = 64;
constexpr std::uint64_t seed = 1234;

std::size_t at(Index index) { return static_cast<std::size_t>(index); }

float dot(const Row& a, const Row& b) { return moepar::row_dot(std::span{a}, std::span{b}); }
void add(Row& sum, const Row& row) {
  for (std::size_t i = 0; i < sum.size(); ++i) sum[i] += row[i];
}

// ---- The model ----

struct Parameter {
  std::string name;
  std::size_t rows, columns;
  bool expert;
  Row value, first_moment, second_moment;
};

//! A row of a weight gradient: adds outer(gradient, input) to it.
struct GradientRow {
  Row gradient, input;
};

struct Model {
  std::vector<Parameter> parameters;
  std::size_t embedding, head, layer[layers];  // a layer: dense, norm, router, experts

  Model() {
    embedding = append("embed", vocabulary, hidden);
    head = append("head", vocabulary, hidden);
    for (std::size_t l = 0; l < layers; ++l) {
      const std::string prefix = "layers." + std::to_string(l) + ".";
      layer[l] = append(prefix + "dense", hidden, hidden);
      append(prefix + "norm", 1, hidden);
      append(prefix + "router", experts, hidden);
      for (std::size_t e = 0; e < experts; ++e)
        append(prefix + "experts." + std::to_string(e), hidden, hidden, /*expert=*/true);
    }
  }

  std::size_t append(const std::string& name, std::size_t rows, std::size_t columns, bool expert = false) {
    const std::size_t size = rows * columns;
    Parameter parameter{name, rows, columns, expert, Row(size, 1.0f), Row(size), Row(size)};
    if (!name.ends_with("norm"))
      moepar::fill_normal(parameter.value, moepar::random_key(seed, name), /*step=*/0, /*first=*/0, 0.0, 0.3);
    parameters.push_back(std::move(parameter));
    return parameters.size() - 1;
  }
};

Row multiply(const Parameter& weight, const Row& x) {  // one running sum per output, in index order
  Row y(weight.rows);
  for (std::size_t i = 0; i < weight.rows; ++i)
    for (std::size_t j = 0; j < weight.columns; ++j) y[i] = std::fma(weight.value[i * weight.columns + j], x[j], y[i]);
  return y;
}

Row multiply_transposed(const Parameter& weight, const Row& y) {
  Row x(weight.columns);
  for (std::size_t i = 0; i < weight.rows; ++i)
    for (std::size_t j = 0; j < weight.columns; ++j) x[j] = std::fma(weight.value[i * weight.columns + j], y[i], x[j]);
  return x;
}

Row softmax(Row z) {
  const float top = moepar::row_max(std::span{z});
  for (float& value : z) value = moepar::exp32(value - top);
  const float sum = moepar::row_sum(std::span{z});
  for (float& value : z) value /= sum;
  return z;
}

// ---- The data: sequences without their padding; every fifth is empty ----

Index length(Index sequence) { return sequence % 5 == 3 ? 0 : longest - sequence % 3; }
std::size_t token(Index step, Index sequence, Index position) {
  static const moepar::RandomKey key = moepar::random_key(seed, "tokens");
  return moepar::random_word(key, step, sequence * (longest + 1) + position) % vocabulary;
}

// ---- Forward and backward of one sequence ----

struct Slot {
  std::size_t expert;
  bool kept;
  float weight;
  Row activation, output;
};

struct Record {  // what backward needs of one layer and token
  Row input, normalised, scaled, probability;
  float inverse_norm;
  std::vector<Slot> slots;
};

using Rows = std::vector<std::vector<GradientRow>>;  // by parameter, in the order (position, slot)

double train_sequence(const Model& model, Index step, Index sequence, float inverse_tokens, Rows& rows) {
  const Index tokens = length(sequence);
  std::vector<Record> records[layers];
  Index count[layers][experts] = {};
  std::vector<Row> y;
  for (Index t = 0; t < tokens; ++t) {
    const float* row = &model.parameters[model.embedding].value[token(step, sequence, t) * hidden];
    y.emplace_back(row, row + hidden);
  }
  for (std::size_t l = 0; l < layers; ++l)
    for (Index t = 0; t < tokens; ++t) {
      Record record;
      const Parameter* weight = &model.parameters[model.layer[l]];
      record.input = y[at(t)];
      Row h = multiply(weight[0], record.input);
      add(h, record.input);
      record.inverse_norm = moepar::rsqrt(dot(h, h) / float{hidden} + 1e-5f);
      for (std::size_t i = 0; i < hidden; ++i) {
        record.normalised.push_back(h[i] * record.inverse_norm);
        record.scaled.push_back(record.normalised[i] * weight[1].value[i]);
      }
      Row logits = multiply(weight[2], record.scaled);
      logits[experts - 1] = -1e9f;  // the last expert never gets a token
      record.probability = softmax(logits);
      std::vector<std::size_t> order(experts);
      std::iota(order.begin(), order.end(), std::size_t{0});
      std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) {  // equal: the lower expert first
        return logits[a] > logits[b] || (logits[a] == logits[b] && a < b);
      });
      const Row chosen = softmax({logits[order[0]], logits[order[1]]});
      for (std::size_t k = 0; k < top_k; ++k) {
        const bool kept = count[l][order[k]]++ < capacity;  // by position, within the sequence
        Slot slot{order[k], kept, chosen[k], Row(hidden), Row(hidden)};
        if (kept) slot.activation = multiply(weight[3 + slot.expert], record.scaled);
        for (std::size_t i = 0; i < hidden; ++i) {  // combine: slot order, at the source
          slot.output[i] = moepar::silu(slot.activation[i]);
          h[i] = std::fma(slot.weight, slot.output[i], h[i]);
        }
        record.slots.push_back(std::move(slot));
      }
      records[l].push_back(std::move(record));
      y[at(t)] = std::move(h);
    }

  double loss = 0;
  for (Index t = 0; t < tokens; ++t) {
    const std::size_t target = token(step, sequence, t + 1);
    Row p = softmax(multiply(model.parameters[model.head], y[at(t)]));
    loss -= moepar::log64(static_cast<double>(p[target]));
    for (std::size_t i = 0; i < vocabulary; ++i) p[i] = (p[i] - (i == target ? 1.0f : 0.0f)) * inverse_tokens;
    rows[model.head].push_back({p, y[at(t)]});
    Row dy = multiply_transposed(model.parameters[model.head], p);
    for (std::size_t l = layers; l-- > 0;) {
      const Record& record = records[l][at(t)];
      const std::size_t id = model.layer[l];
      const Parameter* weight = &model.parameters[id];
      Row scaled(hidden), logits(experts), probability(experts), norm(hidden), normalised(hidden), dh = dy;
      Row slot_weight(top_k), slot_gradient(top_k);
      for (std::size_t k = 0; k < top_k; ++k) {
        const Slot& slot = record.slots[k];
        slot_weight[k] = slot.weight;
        slot_gradient[k] = dot(dy, slot.output);
        if (!slot.kept) continue;
        Row activation(hidden);
        for (std::size_t i = 0; i < hidden; ++i) {
          const float gate = sigmoid(slot.activation[i]);
          activation[i] = slot.weight * dy[i] * (gate * std::fma(slot.activation[i], 1.0f - gate, 1.0f));
        }
        rows[id + 3 + slot.expert].push_back({activation, record.scaled});
        add(scaled, multiply_transposed(weight[3 + slot.expert], activation));
      }
      for (std::size_t e = 0; e < experts; ++e)  // auxiliary loss, scope: the sequence
        probability[e] = 0.01f * float{experts} / static_cast<float>(top_k * tokens) * inverse_tokens *
                         static_cast<float>(count[l][e]);
      const float mean = dot(record.probability, probability), slot_mean = dot(slot_weight, slot_gradient);
      for (std::size_t e = 0; e < experts; ++e) logits[e] = record.probability[e] * (probability[e] - mean);
      for (std::size_t k = 0; k < top_k; ++k) {
        float& logit = logits[record.slots[k].expert];
        logit = std::fma(slot_weight[k], slot_gradient[k] - slot_mean, logit);
      }
      rows[id + 2].push_back({logits, record.scaled});
      add(scaled, multiply_transposed(weight[2], logits));
      for (std::size_t i = 0; i < hidden; ++i) {
        norm[i] = scaled[i] * record.normalised[i];
        normalised[i] = scaled[i] * weight[1].value[i];
      }
      const float along = dot(normalised, record.normalised) / float{hidden};
      for (std::size_t i = 0; i < hidden; ++i)
        dh[i] = std::fma(record.inverse_norm, std::fma(-record.normalised[i], along, normalised[i]), dh[i]);
      rows[id + 1].push_back({{1.0f}, norm});
      rows[id].push_back({dh, record.input});
      dy = multiply_transposed(weight[0], dh);
      add(dy, dh);
    }
    Row hot(vocabulary);
    hot[token(step, sequence, t)] = 1.0f;
    rows[model.embedding].push_back({hot, dy});
  }
  return loss;
}

// ---- Sums over granules. A value is a vector; an empty one means that no row was there ----

struct AddRows {
  template <class Real> void operator()(std::vector<Real>& left, std::vector<Real>& right) const {
    if (left.empty())
      left = std::move(right);
    else
      for (std::size_t i = 0; i < right.size(); ++i) left[i] += right[i];
  }
};

//! What most systems do instead of a tree: one running sum per rank, then a running sum over the ranks.
template <class Real> class RunningSum {
 public:
  explicit RunningSum(const GranuleTree&) {}
  void push(Part<std::vector<Real>> part) {
    if (parts_.empty())
      parts_.push_back(std::move(part));
    else
      AddRows{}(parts_[0].value, part.value);
  }
  std::vector<Part<std::vector<Real>>>& parts() { return parts_; }
  void clear() { parts_.clear(); }
  std::vector<Real> finish() { return std::move(parts_.at(0).value); }

 private:
  std::vector<Part<std::vector<Real>>> parts_;
};

struct WithTree {
  template <class Real> using Stack = PartStack<std::vector<Real>, AddRows>;
  static constexpr bool leaf_per_granule = true;
};
struct WithRunningSums {
  template <class Real> using Stack = RunningSum<Real>;
  static constexpr bool leaf_per_granule = false;
};

//! Block: the ranks that add their gradients at every micro-step.
struct Layout {
  Index world, expert_degree, shard_degree, micro_steps, block;
};

struct Result {
  std::uint64_t hash = 0;
  std::size_t parts = 1, pending = 1;
};

//! The sum of one quantity over the batch under a layout. leaf(granule, sum) adds the granule's rows to sum, in order.
//! `degree` ranks act as one holder (the owner of an expert in its expert group), shard_degree holders as a shard
//! group.
template <class Way, class Real, class Leaf>
std::vector<Real> reduce(const GranuleTree& tree, const Layout& layout, Index degree, Result& result, Leaf leaf) {
  using Stack = typename Way::template Stack<Real>;
  const Index held_granules = tree.granules() / (layout.world * layout.micro_steps);
  const auto first = [&](Index rank, Index micro_step) {  // granules of a rank
    return ((rank / layout.block * layout.micro_steps + micro_step) * layout.block + rank % layout.block) *
           held_granules;
  };
  const auto pour = [](Stack& from, Stack& into) {
    for (auto& part : from.parts()) into.push(std::move(part));
    from.clear();
  };
  Stack root{tree}, pending{tree}, across{tree}, shard{tree}, held{tree};
  for (Index block = 0; block < layout.world / layout.block; ++block) {
    for (Index micro_step = 0; micro_step < layout.micro_steps; ++micro_step) {
      for (Index rank = block * layout.block; rank < (block + 1) * layout.block; rank += degree) {
        std::vector<Real> sum;
        const Index begin = first(rank, micro_step), end = begin + degree * held_granules;
        for (Index i = 0; i < degree * held_granules; ++i) {  // rows arrive sorted by granule
          const Index granule = first(rank + i / held_granules, micro_step) + i % held_granules;
          leaf(granule, sum);
          if (!Way::leaf_per_granule) continue;
          held.push({{granule, granule + 1}, std::exchange(sum, {})});  // empty ones too: the schedule is fixed
        }
        if (!Way::leaf_per_granule) held.push({{begin, end}, std::move(sum)});
        if (layout.micro_steps == 1) result.parts = std::max(result.parts, held.parts().size());
        pour(held, shard);  // reduce-scatter over the shard group, then over the replicas of the block
        if ((rank / degree + 1) % layout.shard_degree == 0) pour(shard, across);
      }
      pour(across, pending);  // over the micro-steps
      result.pending = std::max(result.pending, pending.parts().size());
    }
    pour(pending, root);  // over the blocks, once
  }
  std::vector<Real> sum = root.finish();
  for (Real& value : sum) value += 0;  // the root carries no negative zero
  return sum;
}

template <class Way> Result train(const GranuleTree& tree, const Layout& layout, Index steps) {
  Model model;
  Result result;
  const auto add_to_hash = [&](std::uint64_t name, double value) {
    result.hash += moepar::mix(moepar::mix(name) ^ moepar::hashed_bits(value));
  };
  for (Index step = 1; step <= steps; ++step) {
    std::vector<Rows> rows(at(tree.granules()), Rows(model.parameters.size()));
    std::vector<double> losses;
    Index tokens = 0;
    for (Index g = 0; g < tree.granules(); ++g) tokens += length(g);
    const auto inverse_tokens = static_cast<float>(1.0 / static_cast<double>(tokens));
    for (Index g = 0; g < tree.granules(); ++g)
      losses.push_back(train_sequence(model, step, g, inverse_tokens, rows[at(g)]));
    const double loss = reduce<Way, double>(tree, layout, 1, result, [&](Index g, std::vector<double>& sum) {
      sum.resize(1);
      sum[0] += losses[at(g)];
    })[0];

    double squares = 0;  // blocks of the flat index, a tree over the blocks, parameters in order
    std::vector<Row> gradients;
    for (std::size_t p = 0; p < model.parameters.size(); ++p) {
      const Parameter& parameter = model.parameters[p];
      const std::size_t size = parameter.value.size();
      const Index degree = parameter.expert ? layout.expert_degree : 1;
      Row gradient = reduce<Way, float>(tree, layout, degree, result, [&](Index g, Row& sum) {
        for (const GradientRow& row : rows[at(g)][p]) {
          sum.resize(size);
          for (std::size_t i = 0; i < size; ++i)
            sum[i] = std::fma(row.gradient[i / parameter.columns], row.input[i % parameter.columns], sum[i]);
        }
      });
      gradient.resize(size);  // an expert without a token: zeros
      const auto blocks = static_cast<Index>((size + norm_block - 1) / norm_block);
      PartStack<double> norm{GranuleTree{blocks, {blocks}}};
      for (Index block = 0; block < blocks; ++block) {
        const std::size_t from = at(block) * norm_block;
        const auto part = std::span{gradient}.subspan(from, std::min(size - from, norm_block));
        norm.push({block, block + 1}, moepar::row_dot<double>(part, part));
      }
      squares += norm.finish();
      gradients.push_back(std::move(gradient));
    }
    add_to_hash(static_cast<std::uint64_t>(step), loss / static_cast<double>(tokens));
    add_to_hash(static_cast<std::uint64_t>(-step), squares);

    double power1 = 1, power2 = 1;
    for (Index i = 0; i < step; ++i) power1 *= 0.9, power2 *= 0.95;
    const auto clip = static_cast<float>(std::min(1.0, 0.1 / std::sqrt(squares)));
    const auto correction1 = static_cast<float>(1 / (1 - power1)), correction2 = static_cast<float>(1 / (1 - power2));
    for (std::size_t p = 0; p < model.parameters.size(); ++p) {  // AdamW, element by element: any sharding
      Parameter& q = model.parameters[p];
      for (std::size_t i = 0; i < q.value.size(); ++i) {
        float &w = q.value[i], &m = q.first_moment[i], &v = q.second_moment[i];
        const float g = gradients[p][i] * clip;
        m = std::fma(0.9f, m, 0.1f * g);
        v = std::fma(0.95f, v, 0.05f * (g * g));
        w = std::fma(-0.01f, std::fma(0.1f, w, m * correction1 / (std::sqrt(v * correction2) + 1e-8f)), w);
      }
    }
  }
  for (const Parameter& q : model.parameters)
    result.hash += moepar::tensor_hash(q.name, 0, std::span<const float>{q.value});
  return result;
}

struct Batch {
  GranuleTree tree;
  const char* name;
  std::uint64_t golden;
};

//! Every layout of a batch; true if the law held.
bool check(const Batch& batch) {
  const Index granules = batch.tree.granules();
  std::set<std::uint64_t> with_tree, with_running_sums;
  std::printf("%s\n  %6s %8s %18s %21s\n", batch.name, "world", "layouts", "most parts sent", "most parts pending");
  for (const Index world : {1, 2, 3, 4, 6, 8}) {
    std::size_t layouts = 0, parts = 0, pending = 0;
    for (Index expert = 1; expert <= world; ++expert)
      for (Index shard = 1; shard <= world; ++shard)
        for (Index micro = 1; micro <= 4; ++micro)
          for (Index block = 1; block <= world; ++block) {
            if (Index{experts} % expert != 0 || world % (expert * shard) != 0 || world % block != 0) continue;
            if (block % (expert * shard) != 0 || granules % (world * micro) != 0) continue;
            if (micro == 1 && block < world) continue;
            const Layout layout{world, expert, shard, micro, block};
            const Result result = train<WithTree>(batch.tree, layout, 5);
            with_tree.insert(result.hash);
            with_running_sums.insert(train<WithRunningSums>(batch.tree, layout, 5).hash);
            ++layouts;
            parts = std::max(parts, result.parts);
            pending = std::max(pending, result.pending);
          }
    if (layouts > 0) std::printf("  %6" PRId64 " %8zu %18zu %21zu\n", world, layouts, parts, pending);
  }
  const bool one = with_tree.size() == 1 && *with_tree.begin() == batch.golden;
  const bool tells = with_running_sums.size() > 1;
  std::printf("  hashes: %zu with the tree (%016" PRIx64 ", golden %016" PRIx64 "), %zu with per-rank sums%s\n\n",
              with_tree.size(), *with_tree.begin(), batch.golden, with_running_sums.size(),
              one && tells ? "" : "  <-- WRONG");
  return one && tells;
}

}  // namespace

int main(int argc, char** argv) {
  const long most_sequences = argc > 1 ? std::strtol(argv[1], nullptr, 10) : 24;
  if (argc > 2 || most_sequences < 8) {
    std::fprintf(stderr, "usage: %s [most sequences of a batch, 8 to 24; 12 is enough where code is not optimised]\n",
                 argv[0]);
    return 2;
  }
  try {
    moepar::require_ieee_arithmetic();
    const Batch batches[] = {
        {GranuleTree{8}, "8 sequences, tree 2 x 2 x 2", 0x2c06920bb25c58e0},
        {GranuleTree{12}, "12 sequences, tree 2 x 2 x 3", 0xe7deaa3c21d65537},
        {GranuleTree{24}, "24 sequences, tree 2 x 2 x 2 x 3", 0xdd9ce77fa433e735},
        {GranuleTree{24, {3, 2, 2, 2}}, "24 sequences, tree 3 x 2 x 2 x 2", 0x80d19915aa0711df},
    };
    bool good = true;
    for (const Batch& batch : batches)
      if (batch.tree.granules() <= most_sequences) good = check(batch) && good;
    std::puts(good ? "the law holds: one hash per batch, and it is the golden one" : "THE LAW IS BROKEN");
    return good ? 0 : 1;
  } catch (const moepar::Error& error) {
    std::fprintf(stderr, "%s\n", error.report().c_str());
    return 1;
  }
}
