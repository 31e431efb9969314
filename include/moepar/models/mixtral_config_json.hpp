// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <charconv>
#include <cmath>
#include <string>
#include <string_view>

#include <moepar/core/index.hpp>
#include <moepar/models/mixtral_values.hpp>

namespace moepar {
namespace detail {

//! The shortest text that reads back as `value`, in C++, JSON and Python alike: 1e-05, 1000000.0.
inline std::string number_text(double value) {
  const bool plain = value == 0 || (std::abs(value) >= 1e-4 && std::abs(value) < 1e16);
  char text[64];
  const auto end =
      std::to_chars(text, text + sizeof text, value, plain ? std::chars_format::fixed : std::chars_format::scientific);
  std::string result{text, end.ptr};
  if (plain && result.find('.') == std::string::npos) result += ".0";
  return result;
}

//! One field of a JSON object, on a line of its own.
inline std::string json_field(std::string_view name, const std::string& value) {
  return "  \"" + std::string{name} + "\": " + value + ",\n";
}

inline std::string token_json(Index token) { return token < 0 ? "null" : std::to_string(token); }

}  // namespace detail

//! The config.json of a model that was trained here: what transformers 4 and 5 read beside weights in float32. Ends
//! without a newline.
inline std::string mixtral_config_json(const MixtralConfig& config) {
  const MixtralSizes& sizes = config.sizes;
  const auto whole = [](Index value) { return std::to_string(value); };
  const auto truth = [](bool value) { return std::string{value ? "true" : "false"}; };
  using detail::json_field, detail::number_text;
  return "{\n  \"architectures\": [\"MixtralForCausalLM\"],\n" + json_field("attention_dropout", "0.0") +
         json_field("bos_token_id", detail::token_json(config.bos_token_id)) +
         json_field("eos_token_id", detail::token_json(config.eos_token_id)) +
         json_field("head_dim", sizes.head_dim == 0 ? "null" : whole(sizes.head_dim)) +
         json_field("hidden_act", "\"silu\"") + json_field("hidden_size", whole(sizes.hidden_size)) +
         json_field("initializer_range", number_text(config.initializer_range)) +
         json_field("intermediate_size", whole(sizes.intermediate_size)) +
         json_field("max_position_embeddings", whole(config.max_position_embeddings)) +
         json_field("model_type", "\"mixtral\"") + json_field("num_attention_heads", whole(sizes.num_attention_heads)) +
         json_field("num_experts_per_tok", whole(sizes.num_experts_per_tok)) +
         json_field("num_hidden_layers", whole(sizes.num_hidden_layers)) +
         json_field("num_key_value_heads", whole(sizes.num_key_value_heads)) +
         json_field("num_local_experts", whole(sizes.num_local_experts)) +
         json_field("output_router_logits", truth(config.output_router_logits)) +
         (config.pad_token_id < 0 ? std::string{} : json_field("pad_token_id", whole(config.pad_token_id))) +
         json_field("rms_norm_eps", number_text(config.rms_norm_eps)) +
         json_field("rope_theta", number_text(config.rope_theta)) +
         json_field("router_aux_loss_coef", number_text(config.router_aux_loss_coef)) +
         json_field("router_jitter_noise", number_text(config.router_jitter_noise)) +
         json_field("sliding_window", "null") + json_field("tie_word_embeddings", truth(sizes.tie_word_embeddings)) +
         json_field("torch_dtype", "\"float32\"") + "  \"vocab_size\": " + whole(sizes.vocab_size) + "\n}";
}

}  // namespace moepar
