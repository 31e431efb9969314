// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <string>
#include <string_view>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/models/mixtral_config_json.hpp>
#include <moepar/models/mixtral_values.hpp>

namespace moepar {

//! How the program of a model is laid out and routes; none of it is part of a config.json.
struct ProgramChoices {
  Index world = 1;
  Index expert_parallel = 1;
  Index shard = 1;  //!< 0: the whole world
  std::string dispatcher = "all-to-all";
  std::string router = "transformers";
  bool recompute = false;
};

namespace detail {

struct NamedType {
  std::string_view name, type;
};

inline constexpr NamedType dispatcher_names[] = {{"all-to-all", "AllToAll"}, {"all-gather", "AllGather"}};

//! Policies under the names of those whose losses they have. transformers' and Megatron's own scope is the whole batch.
inline constexpr NamedType router_names[] = {{"transformers", "RoundAuxiliaryLoss"},
                                             {"transformers-sequence", "AuxiliaryLoss"},
                                             {"megatron", "RoundMegatronLoss"},
                                             {"megatron-sequence", "MegatronLoss"},
                                             {"none", "TopKSoftmax"},
                                             {"sinkhorn", "Sinkhorn"},
                                             {"sinkhorn-round", "RoundSinkhorn"}};

//! The type of that name. Throws Error that lists the names.
template <std::size_t Count>
std::string_view type_named(std::string_view what, std::string_view name, const NamedType (&types)[Count]) {
  std::string names;
  for (const NamedType& each : types) {
    if (each.name == name) return each.type;
    names += (names.empty() ? "" : ", ") + std::string{each.name};
  }
  throw Error{"moepar: there is no " + std::string{what} + " '" + std::string{name} + "'. Fix: choose one of " + names +
              "."};
}

//! A text that comes from outside, such as a path, as a part of a line comment: what could end the comment or continue
//! it on the next line is replaced, what is long is cut at its beginning.
inline std::string comment_text(std::string_view text) {
  constexpr std::size_t longest = 60;
  std::string result = text.size() <= longest ? "" : "...";
  for (const char c : text.substr(text.size() <= longest ? 0 : text.size() - longest))
    result += c >= ' ' && c <= '~' && c != '\\' ? c : '_';
  return result;
}

//! A struct that derives from `base` and adds a name, broken as clang-format does.
inline std::string struct_text(std::string_view name, const std::string& base) {
  constexpr std::size_t column_limit = 120;
  std::string head = "struct " + std::string{name}, tail = ": " + base + " {};";
  return head + (head.size() + 1 + tail.size() <= column_limit ? " " : "\n    ") + tail + "\n";
}

}  // namespace detail

//! A program for the model `config` from `origin` (a path, for a comment), as its user would write it: the model as a
//! type, laid out as `choices` say, and moepar/model_program.hpp for all that it does. Degrees are not checked: the
//! compiler of the program does that. Throws Error when a dispatcher or router of that name does not exist.
inline std::string mixtral_program_source(const MixtralConfig& config, const ProgramChoices& choices,
                                          std::string_view origin) {
  const MixtralSizes& sizes = config.sizes;
  const std::string dispatcher{detail::type_named("dispatcher", choices.dispatcher, detail::dispatcher_names)};
  const std::string router{detail::type_named("router", choices.router, detail::router_names)};
  const auto whole = [](Index value) { return std::to_string(value); };
  const bool states_head_size = sizes.head_dim != 0 && sizes.head_dim * sizes.num_attention_heads != sizes.hidden_size;

  const std::string attention =
      std::string{"mp::Attention<hidden, heads, kv_heads"} + (states_head_size ? ", head_size" : "") + ">";
  std::string block = "mp::TransformerBlock<" + attention + ", MoeLayer>";
  if (choices.recompute) block = "mp::Recompute<" + block + ">";
  const std::string experts = "mp::Experts<mp::SwiGlu<hidden, intermediate>, experts>";
  const std::string carried = choices.dispatcher == "all-to-all" ? "" : ", mp::" + dispatcher;
  const std::string tied = sizes.tie_word_embeddings ? ", mp::HeadWeights::tied" : "";

  std::string text = "// Mixtral of " + detail::comment_text(origin) + " as a type. Edit it, and compile it:\n";
  text += "//   g++ -std=c++20 -O3 -I moepar/include THIS_FILE -pthread\n";
  text += "#include <moepar/model_program.hpp>\n#include <moepar/moe.hpp>\n\nnamespace mp = moepar;\n\n";

  text += "// The model.\n";
  text += "constexpr mp::Index vocabulary = " + whole(sizes.vocab_size) +
          ", layers = " + whole(sizes.num_hidden_layers) + ";\n";
  text += "constexpr mp::Index hidden = " + whole(sizes.hidden_size) +
          ", intermediate = " + whole(sizes.intermediate_size) + ";\n";
  text += "constexpr mp::Index heads = " + whole(sizes.num_attention_heads) +
          ", kv_heads = " + whole(sizes.num_key_value_heads) +
          (states_head_size ? ", head_size = " + whole(sizes.head_dim) : "") + ";\n";
  text += "constexpr mp::Index experts = " + whole(sizes.num_local_experts) +
          ", top_k = " + whole(sizes.num_experts_per_tok) + ";\n\n";

  text +=
      "// How it is spread: ranks, ranks that share the experts of a layer, ranks that share one copy of the model\n";
  text += "// (0: all of them, 1: each has its own).\n";
  text += "constexpr mp::Index ranks = " + whole(choices.world) +
          ", expert_degree = " + whole(choices.expert_parallel) + ", shard_degree = " + whole(choices.shard) + ";\n\n";

  text += detail::struct_text("Experts", "mp::ExpertParallel<" + experts + ", expert_degree" + carried + ">");
  text += detail::struct_text("MoeLayer", "mp::Moe<mp::Router<mp::" + router + ", top_k>, Experts>");
  text += detail::struct_text("Block", block);
  text += detail::struct_text("Model", "mp::HybridShard<mp::CausalLm<vocabulary, mp::Repeat<Block, layers>" + tied +
                                           ">, shard_degree>") +
          "\n";
  text += "using Job = mp::Deployment<Model, mp::World<ranks>>;\n\n";

  text += "// Written beside exported weights, for transformers; what changes above changes here too.\n";
  text += "constexpr const char* config = R\"(" + mixtral_config_json(config) + "\n)\";\n\n";

  // As transformers does: without output_router_logits the loss has no auxiliary part, whatever the coefficient.
  const double coefficient = config.output_router_logits ? config.router_aux_loss_coef : 0.0;
  if (coefficient != config.router_aux_loss_coef)
    text += "// No auxiliary loss: output_router_logits is false in config.json. --aux-loss-coef sets a coefficient.\n";
  text += "int main(int argc, char** argv) {\n  return mp::model_program<Job>(argc, argv,\n";
  const std::string indent(32, ' ');
  text += indent + "{.norm_epsilon = " + detail::number_text(config.rms_norm_eps) + ",\n";
  text += indent + " .rotary_theta = " + detail::number_text(config.rope_theta) + ",\n";
  text += indent + " .initial_deviation = " + detail::number_text(config.initializer_range) + ",\n";
  text += indent + " .auxiliary_loss_coefficient = " + detail::number_text(coefficient) + ",\n";
  text += indent + " .top_k = top_k,\n" + indent + " .heads = heads,\n";
  if (config.pad_token_id >= 0) text += indent + " .padding_token = " + whole(config.pad_token_id) + ",\n";
  text += indent + " .bos = " + whole(config.bos_token_id) + ",\n";
  text += indent + " .eos = " + whole(config.eos_token_id) + ",\n";
  text += indent + " .config = config});\n}\n";
  return text;
}

}  // namespace moepar
