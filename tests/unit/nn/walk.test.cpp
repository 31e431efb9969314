// SPDX-License-Identifier: Apache-2.0
// Names and order of parameters, and the law that the list of a module is complete.
#include <doctest/doctest.h>

#include <array>
#include <cstddef>
#include <moepar/moe.hpp>
#include <string>
#include <type_traits>
#include <vector>

namespace mp = moepar;
using mp::Index;

namespace {

struct Experts : mp::ExpertParallel<mp::Experts<mp::SwiGlu<64, 128>, 4>, 2> {};
struct MoeLayer : mp::Moe<mp::Router<mp::TopKSoftmax, 2>, Experts> {};
struct Block : mp::Recompute<mp::TransformerBlock<mp::Attention<64, 8, 2>, MoeLayer>> {};
struct Model : mp::HybridShard<mp::CausalLm<320, mp::Repeat<Block, 2>>, 2> {};

// Adds up the sizes of the members that a module lists, without going into them.
class SizeOfList {
 public:
  std::size_t bytes = 0;
  template <class Member> void operator()(const char*, Member& member) { through(member); }
  template <class Member> void through(Member&) {
    if constexpr (!std::is_empty_v<Member>) bytes += sizeof(Member);
  }
  template <class Array> void each(const char*, Array& array) { through(array); }
  template <class Member> void stacked(const char*, Index, Member& member) { through(member); }
  template <class Member> void routed(Index, Index, Member& member) { through(member); }
  template <class Member> void sharded(Index, Index, Member& member) { through(member); }
  template <class Member> void spread(Index, Member& member) { through(member); }
  template <class Member> void recomputed(Member& member) { through(member); }
};

template <class Module> std::size_t listed_bytes() {
  Module module_{};
  SizeOfList walk;
  Module::members(module_, walk);
  return walk.bytes;
}

}  // namespace

TEST_CASE("names are Hugging Face's, in one fixed order, each once") {
  std::vector<std::string> names;
  Model model{};
  mp::for_each_parameter(model, [&](const mp::Site& site, const mp::Parameter&) {
    for (Index copy = 0; copy < site.copies; ++copy) names.push_back(site.name(copy));
  });
  std::vector<std::string> expected{"model.embed_tokens.weight"};
  for (const std::string layer : {"model.layers.0.", "model.layers.1."}) {
    expected.push_back(layer + "input_layernorm.weight");
    for (const std::string part : {"q", "k", "v", "o"})
      expected.push_back(layer + "self_attn." + part + "_proj.weight");
    expected.push_back(layer + "post_attention_layernorm.weight");
    expected.push_back(layer + "block_sparse_moe.gate.weight");
    for (const std::string matrix : {"w1", "w2", "w3"})
      for (const std::string expert : {"0", "1", "2", "3"})
        expected.push_back(layer + "block_sparse_moe.experts." + expert + '.' + matrix + ".weight");
  }
  expected.push_back("model.norm.weight");
  expected.push_back("lm_head.weight");
  CHECK(names == expected);
}

TEST_CASE("sites know kind, copies, what a token uses, and whether they are sharded") {
  const Model model{};
  Index experts = 0;
  mp::for_each_parameter(model, [&](const mp::Site& site, const mp::Parameter& parameter) {
    CHECK(site.sharded);
    if (site.kind == mp::Kind::expert) {
      ++experts;
      CHECK(site.copies == 4);
      CHECK(site.active() == 2);
      CHECK(parameter.size() == 64 * 128);
    } else {
      CHECK(site.copies == 1);
      CHECK(site.active() == 1);
    }
  });
  CHECK(experts == 6);

  mp::TransformerBlock<mp::Attention<64, 8>, mp::SwiGlu<64, 128>> dense{};
  mp::for_each_parameter(dense, [&](const mp::Site& site, const mp::Parameter&) {
    CHECK_FALSE(site.sharded);
    CHECK(site.kind == mp::Kind::dense);
  });
}

TEST_CASE("a tied head has no parameters of its own") {
  const mp::CausalLm<320, mp::Repeat<Block, 1>, mp::HeadWeights::tied> model{};
  std::vector<std::string> names;
  mp::for_each_parameter(model, [&](const mp::Site& site, const mp::Parameter&) { names.push_back(site.name()); });
  CHECK(names.back() == "model.norm.weight");
  CHECK(names.front() == "model.embed_tokens.weight");
}

TEST_CASE("the list of every module is complete") {
  CHECK(listed_bytes<mp::Linear<8, 4>>() == sizeof(mp::Linear<8, 4>));
  CHECK(listed_bytes<mp::Embedding<8, 4>>() == sizeof(mp::Embedding<8, 4>));
  CHECK(listed_bytes<mp::RmsNorm<8>>() == sizeof(mp::RmsNorm<8>));
  CHECK(listed_bytes<mp::Attention<64, 8, 2>>() == sizeof(mp::Attention<64, 8, 2>));
  CHECK(listed_bytes<mp::SwiGlu<8, 4>>() == sizeof(mp::SwiGlu<8, 4>));
  CHECK(listed_bytes<mp::Experts<mp::SwiGlu<8, 4>, 4>>() == sizeof(mp::Experts<mp::SwiGlu<8, 4>, 4>));
  CHECK(listed_bytes<Experts>() == sizeof(Experts));
  CHECK(listed_bytes<MoeLayer>() == sizeof(MoeLayer));
  CHECK(listed_bytes<Block>() == sizeof(Block));
  CHECK(listed_bytes<mp::TransformerBlock<mp::Attention<64, 8>, MoeLayer>>() ==
        sizeof(mp::TransformerBlock<mp::Attention<64, 8>, MoeLayer>));
  CHECK(listed_bytes<mp::Repeat<Block, 3>>() == sizeof(mp::Repeat<Block, 3>));
  CHECK(listed_bytes<mp::CausalLm<320, mp::Repeat<Block, 3>>>() == sizeof(mp::CausalLm<320, mp::Repeat<Block, 3>>));
  CHECK(listed_bytes<Model>() == sizeof(Model));
}

TEST_CASE("binding gives every parameter its own place") {
  Model model{};
  const mp::Binding binding = mp::bind_parameters(model);
  Index number = 0;
  std::array<Index, mp::placements> next{};
  mp::for_each_parameter(model, [&](const mp::Site& site, const mp::Parameter& parameter) {
    Index& at = next[static_cast<std::size_t>(parameter.placement)];
    CHECK(parameter.number == number++);
    CHECK(parameter.held == at);
    CHECK(parameter.copies == site.copies);
    at += site.copies * parameter.size();
  });
  CHECK(number == binding.parameters);
  Index elements = 0;
  for (std::size_t i = 0; i < next.size(); ++i) {
    CHECK(binding.size[i].held == next[i]);
    CHECK(binding.size[i].whole == next[i]);
    elements += next[i];
  }
  CHECK(elements == mp::census_of<Model>().parameters().total());
}

TEST_CASE("a path that is too deep is refused") {
  mp::Path path;
  for (std::size_t i = 0; i < mp::Path::max_depth; ++i) path.push("inner");
  CHECK_THROWS_AS(path.push("one more"), mp::Error);
}
