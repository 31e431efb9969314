// SPDX-License-Identifier: Apache-2.0
// The same numbers as Hugging Face transformers, from the same checkpoints. The data is not part of the project: its
// folder is MOEPAR_SHARED, or `shared` beside the project; without it nothing is tested and the exit code is 77.
#define DOCTEST_CONFIG_IMPLEMENT
#include "safetensors.hpp"

#include <doctest/doctest.h>

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <moepar/moe.hpp>
#include <set>
#include <source_location>
#include <span>
#include <string>
#include <vector>

namespace mp = moepar;
using mp::Index;
using parity::Tensors;

namespace {

std::size_t size_of(Index count) { return static_cast<std::size_t>(count); }

std::filesystem::path data_folder() {
  if (const char* shared = std::getenv("MOEPAR_SHARED")) return std::filesystem::path{shared} / "data";
#ifdef MOEPAR_ROOT
  const std::filesystem::path root{MOEPAR_ROOT};
#else
  const std::filesystem::path file{std::source_location::current().file_name()};
  const std::filesystem::path root = std::filesystem::absolute(file).parent_path().parent_path().parent_path();
#endif
  return root.parent_path() / "shared" / "data";
}

//! What this rank keeps of each parameter becomes that of the tensor of its name. Every tensor must find its place.
template <class Trainer> void load(Trainer& trainer, const Tensors& tensors) {
  for (const mp::ListedParameter& listed : trainer.parameters()) {
    const std::span<float> kept = trainer.rank().kept(listed.parameter);
    listed.for_each_run([&](Index copy, Index first, Index count, Index at) {
      const auto& values = tensors.at(listed.names[size_of(copy)]);
      REQUIRE(static_cast<Index>(values.size()) == listed.parameter.size());
      std::copy_n(values.begin() + first, count, kept.begin() + at);
    });
  }
  std::set<std::string> names;
  mp::for_each_parameter(trainer.model(), [&](const mp::Site& site, const mp::Parameter&) {
    for (Index copy = 0; copy < site.copies; ++copy) names.insert(site.name(copy));
  });
  for (const auto& [name, values] : tensors) REQUIRE_MESSAGE(names.contains(name), name);
}

//! Calls body(trainer) on every rank of a world, with a model that holds `tensors`.
template <class Model, class Body>
void with_model(const mp::Layout& layout, const Tensors& tensors, const mp::TrainerOptions& options, Body body) {
  mp::ThreadWorld world{layout.world};
  world.run([&](mp::ThreadWorld::Rank& connection) {
    mp::JobRank<Model, mp::ThreadWorld::Rank> rank{connection, layout, 1};
    mp::Trainer trainer{rank, mp::AdamW{}, options};
    load(trainer, tensors);
    body(trainer);
  });
}

//! What a model says of one text: logits after each token, losses of the whole.
struct Answer {
  std::vector<float> logits{};
  mp::StepOutcome outcome{};
  bool operator==(const Answer& other) const {
    return logits == other.logits && outcome.loss == other.outcome.loss &&
           outcome.auxiliary_loss == other.outcome.auxiliary_loss &&
           outcome.gradient_norm == other.outcome.gradient_norm;
  }
};

// --- tiny-mixtral: random weights, logits of transformers in 64 bits ---

namespace tiny {

constexpr Index hidden = 32, intermediate = 64, experts = 4, vocabulary = 48, layers = 2, batch = 8;
struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<hidden, intermediate>, experts>, 1> {};
struct Block
    : mp::TransformerBlock<mp::Attention<hidden, 4, 4>, mp::Moe<mp::Router<mp::RoundAuxiliaryLoss, 2>, Experts>> {};
struct Model : mp::HybridShard<mp::CausalLm<vocabulary, mp::Repeat<Block, layers>>, 1> {};

//! The text is the first sequence of a batch; all others are empty.
Answer answer(const mp::Layout& layout, const Tensors& tensors, const nlohmann::json& expected) {
  const std::vector<std::int32_t> ids = expected.at("input_ids");
  std::vector<std::int32_t> targets(ids.begin() + 1, ids.end());
  targets.push_back(-1);
  const mp::TrainerOptions options{
      .shape = {.sequences = batch / layout.world, .length = static_cast<Index>(ids.size())},
      .numerics = {.norm_epsilon = expected.at("rms_norm_eps"),
                   .rotary_theta = expected.at("rope_theta"),
                   .auxiliary_loss_coefficient = 0.001}};
  std::vector<Answer> answers(size_of(layout.world));
  with_model<Model>(layout, tensors, options, [&](auto& trainer) {
    Answer& own = answers[size_of(trainer.rank().rank())];
    for (std::size_t count = 1; count <= ids.size(); ++count)
      for (const float logit : trainer.next_token_logits(std::span{ids}.first(count))) own.logits.push_back(logit);
    own.outcome = trainer.step([&](Index i) { return i == 0 ? mp::Sequence{ids, targets} : mp::Sequence{}; });
  });
  for (const Answer& other : answers) CHECK(other == answers[0]);
  return answers[0];
}

}  // namespace tiny

// --- tinystories-656k: a trained dense Llama ---

namespace stories {

constexpr Index hidden = 128, intermediate = 384, experts = 8, vocabulary = 2048, layers = 2;
struct Attention : mp::Attention<hidden, 8, 4> {};
struct Mlp : mp::SwiGlu<hidden, intermediate> {};
struct DenseBlock : mp::TransformerBlock<Attention, Mlp> {};
struct Dense : mp::HybridShard<mp::CausalLm<vocabulary, mp::Repeat<DenseBlock, layers>>, 1> {};
struct Tied : mp::CausalLm<vocabulary, mp::Repeat<DenseBlock, layers>, mp::HeadWeights::tied> {};
struct Experts : mp::ExpertParallel<mp::Experts<Mlp, experts>, 1> {};
template <Index TopK>
struct Block : mp::TransformerBlock<Attention, mp::Moe<mp::Router<mp::TopKSoftmax, TopK>, Experts>> {};
template <Index TopK> struct Mixture : mp::HybridShard<mp::CausalLm<vocabulary, mp::Repeat<Block<TopK>, layers>>, 1> {};

constexpr mp::Numerics numerics{.norm_epsilon = 1e-6, .rotary_theta = 1e4};
// "Once upon a time, there was a little girl named Lily. "
const std::vector<std::int32_t> prompt = {1, 147, 201, 282, 215, 286, 598, 1475};

//! The checkpoint has the embedding table once, as the head; its feed-forward has the names of Llama.
Tensors dense_tensors() {
  Tensors tensors = parity::read_tensors(data_folder() / "tinystories-656k" / "model.safetensors");
  for (Index layer = 0; layer < layers; ++layer) {
    const std::string mlp = "model.layers." + std::to_string(layer) + ".mlp.";
    tensors[mlp + "w1.weight"] = parity::take(tensors, mlp + "gate_proj.weight");
    tensors[mlp + "w2.weight"] = parity::take(tensors, mlp + "down_proj.weight");
    tensors[mlp + "w3.weight"] = parity::take(tensors, mlp + "up_proj.weight");
  }
  tensors["model.embed_tokens.weight"] = tensors.at("lm_head.weight");
  return tensors;
}

//! The same feed-forward in every expert, and a gate of random numbers.
Tensors mixture_tensors(Tensors tensors) {
  for (Index layer = 0; layer < layers; ++layer) {
    const std::string prefix = "model.layers." + std::to_string(layer);
    for (const char* name : {".w1.weight", ".w2.weight", ".w3.weight"}) {
      const auto values = parity::take(tensors, prefix + ".mlp" + name);
      for (Index e = 0; e < experts; ++e)
        tensors[prefix + ".block_sparse_moe.experts." + std::to_string(e) + name] = values;
    }
    auto& gate = tensors[prefix + ".block_sparse_moe.gate.weight"];
    gate.resize(size_of(experts * hidden));
    mp::fill_normal(gate, mp::random_key(5, prefix), 0, 0, 0, 0.3);
  }
  return tensors;
}

//! Tokens as text: "▁" is a space, <0x0A> a byte.
std::string text_of(const std::vector<std::int32_t>& ids) {
  const auto tokenizer = parity::read_json(data_folder() / "tinystories-656k" / "tokenizer.json");
  std::vector<std::string> pieces(size_of(vocabulary));
  for (const auto& [piece, id] : tokenizer.at("model").at("vocab").items()) pieces.at(id.get<std::size_t>()) = piece;
  std::string text;
  for (const std::int32_t id : ids) {
    std::string piece = pieces.at(static_cast<std::size_t>(id));
    if (piece.starts_with("<0x")) piece = static_cast<char>(std::stoi(piece.substr(3, 2), nullptr, 16));
    for (std::size_t at; (at = piece.find("▁")) != std::string::npos;) piece.replace(at, std::string{"▁"}.size(), " ");
    text += piece;
  }
  return text;
}

struct Result {
  std::vector<float> logits{};       //!< after each token of the prompt
  std::vector<std::int32_t> text{};  //!< the likeliest tokens that follow it
  double loss = 0;                   //!< of the prompt
};

template <class Model> Result result(const mp::Layout& layout, const Tensors& tensors, Index more_tokens) {
  const mp::TrainerOptions options{.shape = {.length = 128}, .numerics = numerics};
  std::vector<Result> results(size_of(layout.world));
  with_model<Model>(layout, tensors, options, [&](auto& trainer) {
    Result& own = results[size_of(trainer.rank().rank())];
    for (std::size_t count = 1; count <= prompt.size(); ++count)
      for (const float logit : trainer.next_token_logits(std::span{prompt}.first(count))) own.logits.push_back(logit);
    own.text = mp::sample_text(trainer, prompt, more_tokens, {.temperature = 0});
    own.loss = trainer.evaluate(
        [](Index) { return mp::Sequence{std::span{prompt}.first(prompt.size() - 1), std::span{prompt}.subspan(1)}; },
        1);
  });
  for (const Result& other : results) {
    CHECK(other.logits == results[0].logits);
    CHECK(other.text == results[0].text);
    CHECK(other.loss == results[0].loss);
  }
  return results[0];
}

double largest_distance(const std::vector<float>& a, const std::vector<float>& b) {
  REQUIRE(a.size() == b.size());
  double distance = 0;
  for (std::size_t i = 0; i < a.size(); ++i) {
    REQUIRE(std::isfinite(a[i]));
    distance = std::max(distance, std::fabs(double{a[i]} - double{b[i]}));
  }
  return distance;
}

const Result& dense() {
  static const Result result = stories::result<Dense>({}, dense_tensors(), 100);
  return result;
}

template <Index TopK> void check_mixture() {
  const Tensors tensors = mixture_tensors(dense_tensors());
  Result first;
  for (const Index degree : {1, 2, 4, 8}) {
    CAPTURE(degree);
    const Result mixture = result<Mixture<TopK>>(mp::checked_layout({.expert = degree}, degree, experts), tensors, 12);
    const double distance = largest_distance(mixture.logits, dense().logits);
    if (degree == 1) MESSAGE("top-" << TopK << ": largest distance of a logit from the dense model's: " << distance);
    CHECK(distance <= (TopK == 1 ? 0 : 1e-5));  // a weight of 1 changes no bit
    CHECK(mixture.loss == doctest::Approx(dense().loss).epsilon(1e-6));
    CHECK(std::equal(mixture.text.begin(), mixture.text.end(), dense().text.begin()));
    if (degree == 1) first = mixture;
    CHECK(mixture.logits == first.logits);
  }
}

}  // namespace stories
}  // namespace

TEST_CASE("tiny-mixtral: logits and losses of transformers, in both layouts of the file, on any layout of ranks") {
  const auto folder = data_folder() / "tiny-mixtral";
  const auto expected = parity::read_json(folder / "full_mixtral.json");
  const Tensors classic = parity::read_tensors(folder / "mixtral_classic.safetensors");
  const Tensors fused =
      parity::classic_names(parity::read_tensors(folder / "full_mixtral.safetensors"), size_of(tiny::layers),
                            size_of(tiny::experts), size_of(tiny::hidden), size_of(tiny::intermediate));
  CHECK(classic == fused);
  const std::vector<double> logits = expected.at("hf_logits");

  const Answer first = tiny::answer({}, fused, expected);
  REQUIRE(first.logits.size() == logits.size());
  double distance = 0;
  for (std::size_t i = 0; i < logits.size(); ++i)
    distance = std::max(distance, std::fabs(double{first.logits[i]} - logits[i]));
  MESSAGE("largest distance of a logit " << distance << ", of the cross entropy " << first.outcome.loss - 3.928492430457
                                         << ", of the auxiliary loss "
                                         << first.outcome.auxiliary_loss - 2.032374719813);
  CHECK(distance <= 1e-4);
  CHECK(std::fabs(first.outcome.loss - 3.928492430457) <= 1e-5);
  CHECK(std::fabs(first.outcome.auxiliary_loss - 2.032374719813) <= 1e-5);
  CHECK(std::fabs(first.outcome.loss + 0.001 * first.outcome.auxiliary_loss - 3.930524805177) <= 1e-5);

  CHECK(tiny::answer({}, classic, expected) == first);
  for (const mp::Degrees& degrees : {mp::Degrees{.expert = 2},
                                     {.expert = 4},
                                     {.expert = 2, .shard = 2},
                                     {.expert = 4, .shard = 2},
                                     {.expert = 4, .shard = 0},
                                     {.shard = 0}})
    for (const Index world : {2, 4, 8}) {
      const mp::Layout layout = mp::layout_of(degrees, world);
      if (!layout.legal()) continue;
      CAPTURE(world);
      CAPTURE(degrees.expert);
      CAPTURE(degrees.shard);
      CHECK(tiny::answer(layout, fused, expected) == first);
    }
}

TEST_CASE("tinystories-656k: the dense model knows English") {
  MESSAGE("loss of the prompt " << stories::dense().loss << "; it goes on:\n"
                                << stories::text_of(stories::dense().text));
  CHECK(stories::text_of({stories::prompt.begin() + 1, stories::prompt.end()}) ==
        "Once upon a time, there was a little girl named Lily. ");
  CHECK(std::fabs(stories::dense().loss - 0.681983501281) <= 1e-5);  // by another program, in 64 bits; likewise:
  struct Logit {
    Index position, token;
    double value;
  };
  for (const Logit& logit : {Logit{0, 147, 14.781670058},
                             {1, 201, 19.726401286},
                             {3, 215, 18.062031457},
                             {5, 0, -3.674063084},
                             {6, 1475, 12.365348544},
                             {7, 100, -0.375156542},
                             {7, 2047, -0.949841006}})
    CHECK(std::fabs(double{stories::dense().logits[size_of(logit.position * stories::vocabulary + logit.token)]} -
                    logit.value) <= 1e-4);
}

TEST_CASE("tinystories-656k: a head that shares the embedding table gives the same logits") {
  const Tensors tensors = stories::dense_tensors();
  stories::Tied model{};
  const auto rows = static_cast<Index>(stories::prompt.size());
  mp::SingleRank<float> rank{model,
                             {.sequences = 1, .length = rows},
                             {.activations = 1 << 21, .parameters = 64, .routes = 64, .constants = 1 << 16},
                             1,
                             stories::numerics};
  mp::for_each_use(model, [&](const mp::Site& site, const mp::Parameter& parameter) {
    const mp::Parameter* const values = site.tied;
    std::ranges::copy(tensors.at(values == nullptr ? site.name() : "model.embed_tokens.weight"),
                      rank.kept(parameter).begin());
  });
  std::vector<float> hidden_rows(size_of(rows * stories::hidden)), logits(size_of(rows * stories::vocabulary));
  stories::Tied::Record<float> record{};
  model.forward(rank, stories::prompt.data(), mp::Matrix{hidden_rows.data(), rows, stories::hidden}, record);
  model.score(rank, mp::Matrix<const float>{hidden_rows.data(), rows, stories::hidden},
              mp::Matrix{logits.data(), rows, stories::vocabulary});
  CHECK(logits == stories::dense().logits);
}

TEST_CASE("tinystories-656k: eight equal experts are the dense model, top-1") { stories::check_mixture<1>(); }
TEST_CASE("tinystories-656k: eight equal experts are the dense model, top-2") { stories::check_mixture<2>(); }
TEST_CASE("tinystories-656k: eight equal experts are the dense model, top-3") { stories::check_mixture<3>(); }

int main(int argc, char** argv) {
  if (!std::filesystem::exists(data_folder() / "tiny-mixtral")) {
    std::printf("skipped: there is no %s\n", data_folder().string().c_str());
    return 77;  // what Meson takes for a skipped test
  }
  return doctest::Context{argc, argv}.run();
}
