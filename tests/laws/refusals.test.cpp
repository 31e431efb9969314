// SPDX-License-Identifier: Apache-2.0
// What a trainer is given and cannot use: one error, on all ranks, that says what to do; and it can go on afterwards.
#include <doctest/doctest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <limits>
#include <moepar/moe.hpp>
#include <string>
#include <vector>

#include "law_training.hpp"

namespace mp = moepar;
using mp::Index;
using Model = law::Model<mp::AuxiliaryLoss>;

namespace {

//! Makes a trainer on two ranks and calls use(trainer, rank); returns what the first rank at fault said.
template <class Change, class Use> std::string said(Change change, Use use) {
  mp::ThreadWorld world{2};
  try {
    world.run([&](auto& connection) {
      law::Setting setting{.layout = {.world = 2, .expert = 2}};
      mp::TrainerOptions options = law::options_of(setting);
      mp::AdamW optimizer{};
      change(connection.rank(), setting.layout, options, optimizer);
      mp::JobRank<Model, mp::ThreadWorld::Rank> rank{connection, setting.layout, 1};
      mp::Trainer trainer{rank, optimizer, options};
      use(trainer, connection.rank());
    });
  } catch (const mp::Error& error) {
    return error.what();
  }
  return "nothing";
}
constexpr auto nothing = [](auto&&...) {};

bool has(const std::string& text, const char* part) {
  CAPTURE(text);
  CHECK(text.find(part) != std::string::npos);
  return text.find("Fix: ") != std::string::npos;
}

}  // namespace

TEST_CASE("a layout that does not fit the model or the world") {
  const auto with = [](const mp::Layout& other) {
    return said([&](Index, mp::Layout& layout, auto&, auto&) { layout = other; }, nothing);
  };
  CHECK(has(with({.world = 2, .expert = 1, .dense_shard = 3}), "does not fit a world of 2 ranks"));
  CHECK(has(with({.world = 4, .expert = 2}), "does not fit a world of 2 ranks"));
  mp::ThreadWorld five{5};
  CHECK_THROWS_WITH_AS(five.run([](auto& connection) {
    mp::JobRank<Model, mp::ThreadWorld::Rank> rank{connection, {.world = 5, .expert = 5}, 1};
  }),
                       doctest::Contains("Degree must divide the number of experts"), mp::Error);
}

TEST_CASE("numbers that cannot be") {
  const double nan = std::numeric_limits<double>::quiet_NaN(), infinity = std::numeric_limits<double>::infinity();
  const auto options = [](auto set) {
    return said([&](Index, auto&, mp::TrainerOptions& given, mp::AdamW& optimizer) { set(given, optimizer); }, nothing);
  };
  CHECK(has(options([&](auto& o, auto&) { o.clip = nan; }), "clip nan"));
  CHECK(has(options([&](auto& o, auto&) { o.numerics.rotary_theta = 0; }), "rotary_theta 0.0"));
  CHECK(has(options([&](auto&, auto& a) { a.beta1 = 1; }), "beta1 1.0"));
  CHECK(has(options([&](auto& o, auto&) { o.shape.micro_steps = 0; }), "0 micro-steps"));
  CHECK(has(options([&](auto& o, auto&) { o.shape.sequences = Index{1} << 40; }), "are too many"));
  CHECK(has(options([&](auto& o, auto&) { o.shape.receive_rows = 3; }), "receive_rows is 3"));
  CHECK(has(options([&](auto& o, auto&) { o.numerics.padding_token = law::vocabulary; }), "padding_token is 61"));
  for (const double rate : {nan, infinity, -1.0})
    CHECK(has(said(nothing, [&](auto& trainer, Index) { trainer.step(law::Batch{0, law::batch, false}, rate); }),
              "was given the learning rate"));
}

TEST_CASE("ranks that were given different things") {
  CHECK(has(
      said([](Index rank, auto&, auto& options, auto&) { options.seed += static_cast<std::uint64_t>(rank); }, nothing),
      "rank 1 has another options of the trainer"));
  CHECK(has(said([](Index rank, auto&, auto&, auto& optimizer) { optimizer.beta2 -= 0.01 * static_cast<double>(rank); },
                 nothing),
            "rank 1 has another options of the trainer"));
  CHECK(has(said(nothing,
                 [](auto& trainer, Index rank) {
                   trainer.step(law::Batch{0, law::batch, false}, 1e-2 + 1e-3 * static_cast<double>(rank));
                 }),
            "different settings for one step"));
}

TEST_CASE("after an error a trainer goes on") {
  CHECK(said(nothing, [](auto& trainer, Index) {
          const law::Batch batch{0, law::batch, false};
          int caught = 0;
          for (int attempt = 0; attempt < 3; ++attempt) try {
              (void)trainer.evaluate([](Index) -> mp::Sequence { throw mp::Error{"no such sequence"}; }, 24);
            } catch (const mp::Error&) {
              ++caught;
            }
          try {
            (void)trainer.evaluate(batch, -1);
          } catch (const mp::Error&) {
            ++caught;
          }
          try {
            (void)trainer.next_token_logits({});
          } catch (const mp::Error&) {
            ++caught;
          }
          if (caught != 5) throw mp::Error{"not refused"};
          trainer.step(batch, 1e-2);
        }) == "nothing");
}

TEST_CASE("a checkpoint that cannot be written leaves nothing behind") {
  const auto folder = std::filesystem::temp_directory_path() / "moepar_refusals";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directories(folder / "model.safetensors");
  CHECK(has(said(nothing, [&](auto& trainer, Index) { trainer.save(folder); }), "no plain file"));
  CHECK(!std::filesystem::exists(folder / "model.safetensors.partial"));
  std::ofstream{folder / "file"} << "x";
  CHECK(has(said(nothing, [&](auto& trainer, Index) { trainer.save(folder / "file"); }), "could not be made"));
  CHECK(said(nothing, [&](auto& trainer, Index) { trainer.save(folder / "new" / "folder"); }) == "nothing");
  CHECK(std::filesystem::file_size(folder / "new" / "folder" / "model.safetensors") > 100'000);
  std::filesystem::remove_all(folder);
}

TEST_CASE("blocks of another batch or length") {
  CHECK(has(said(nothing,
                 [](auto& trainer, Index) {
                   const mp::TokenBlocks blocks{std::vector<std::int32_t>(1000, 1), {.length = 7, .batch = 5}};
                   mp::fit(trainer, blocks, mp::Constant{1e-3}, {.steps = 1});
                 }),
            "the trainer takes 24 of at most 7"));
}

TEST_CASE("a world without time to meet") {
  CHECK_THROWS_WITH_AS(mp::ThreadWorld(2, std::chrono::milliseconds{0}), doctest::Contains("a deadline of 0 ms"),
                       mp::Error);
}
