// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <filesystem>
#include <string>
#include <system_error>

#include <nlohmann/json.hpp>

#include <moepar/core/index.hpp>
#include <moepar/models/config_fields.hpp>
#include <moepar/models/config_json.hpp>
#include <moepar/models/mixtral_config_fields.hpp>
#include <moepar/models/mixtral_sizes.hpp>
#include <moepar/models/mixtral_values.hpp>

// Needs nlohmann/json, so moepar/moe.hpp leaves it out.
namespace moepar {
namespace detail {

//! How many sizes the file names.
inline int read_sizes(ConfigFields& fields, MixtralSizes& sizes, NullSize null) {
  int named = 0;
  const auto read = [&](const char* name, Index& size, NullSize if_null) {
    named += fields.size(name, size, if_null) ? 1 : 0;
  };
  read("vocab_size", sizes.vocab_size, null);
  read("hidden_size", sizes.hidden_size, null);
  read("intermediate_size", sizes.intermediate_size, null);
  read("num_hidden_layers", sizes.num_hidden_layers, null);
  read("num_attention_heads", sizes.num_attention_heads, null);
  const auto* kv_heads = fields.find("num_key_value_heads");
  if (kv_heads != nullptr && kv_heads->is_null()) sizes.num_key_value_heads = sizes.num_attention_heads;
  read("num_key_value_heads", sizes.num_key_value_heads, NullSize::absent);
  read("head_dim", sizes.head_dim, NullSize::absent);
  read("num_local_experts", sizes.num_local_experts, null);
  read("num_experts_per_tok", sizes.num_experts_per_tok, null);
  fields.flag("tie_word_embeddings", sizes.tie_word_embeddings, null);
  return named;
}

//! Version 5 calls num_local_experts num_experts too.
inline void read_expert_alias(ConfigFields& fields, MixtralSizes& sizes) {
  Index experts = 0;
  if (!fields.size("num_experts", experts, NullSize::refused)) return;
  if (fields.find("num_local_experts") != nullptr && experts != sizes.num_local_experts)
    fields.problem("num_experts is " + std::to_string(experts) + " and num_local_experts is " +
                   std::to_string(sizes.num_local_experts) + ". Fix: they are one number, remove one.");
  sizes.num_local_experts = experts;
}

//! Version 4 has rope_theta, version 5 rope_parameters; both must agree where both are there.
inline void read_rotary(ConfigFields& fields, double& theta) {
  const bool at_top = fields.number("rope_theta", theta, 1);
  const auto* parameters = fields.find("rope_parameters");
  if (parameters == nullptr || parameters->is_null()) return;
  if (!parameters->is_object()) {
    fields.problem("rope_parameters must be an object, but is " + shown(*parameters) + ". Fix: write rope_theta.");
    return;
  }
  for (const auto& [name, value] : parameters->items()) {
    if (name == "rope_theta") {
      const double top = theta;
      if (fields.number(&value, "rope_parameters.rope_theta", theta, 1) && at_top && theta != top)
        fields.problem("rope_theta is " + shown(top) + " and rope_parameters.rope_theta is " + shown(value) +
                       ". Fix: they are one number, remove one.");
    } else if (name == "rope_type" || name == "type") {
      if (value != "default")
        fields.problem("rope_parameters." + name + " is " + shown(value) +
                       ", and only \"default\" is supported: rotary positions here are not scaled. Fix: take a model "
                       "that has it so.");
    } else if (name != "partial_rotary_factor" || value != 1) {
      fields.problem("rope_parameters: the field " + shown(name) + " (" + shown(value) +
                     ") is not known. Fix: remove it if it does not change what the model computes.");
    }
  }
}

//! Version 4 has torch_dtype, version 5 dtype; both must agree where both are there.
inline void read_dtype(ConfigFields& fields, std::string& dtype) {
  for (const char* name : {"torch_dtype", "dtype"}) {
    const auto* field = fields.find(name);
    if (field == nullptr || field->is_null()) continue;
    if (*field != "float32" && *field != "bfloat16" && *field != "float16" && *field != "float64")
      fields.problem(std::string{name} + " is " + shown(*field) +
                     ", not float32, bfloat16, float16 or float64. Fix: store the weights as one of them.");
    else if (!dtype.empty() && *field != dtype)
      fields.problem("torch_dtype is " + shown(dtype) + " and dtype is " + shown(*field) +
                     ". Fix: they are one type, remove one.");
    else
      dtype = field->get<std::string>();
  }
}

}  // namespace detail

//! Sets the sizes that the config.json, `config` of the file `file`, names; null counts as not named, other fields are
//! not looked at. How many it names. Throws Error when one is no size; that they fit together says check_sizes.
inline int read_mixtral_sizes(const nlohmann::json& config, const std::string& file, MixtralSizes& sizes) {
  detail::ConfigFields fields{config, file};
  const int named = detail::read_sizes(fields, sizes, detail::NullSize::absent);
  fields.report();
  return named;
}

//! The config.json of a Hugging Face Mixtral, as versions 4 and 5 of transformers write it; `path` is the file or its
//! folder. What the file leaves out has transformers' default. No field is passed over: one that is not known, or has a
//! value that asks for what is not supported here, is refused, as is a model that cannot be. Throws Error that names
//! the file, and every field that is wrong with its value.
[[nodiscard]] inline MixtralConfig read_mixtral_config(const std::string& path) {
  std::error_code problem;
  const std::string file =
      std::filesystem::is_directory(path, problem) ? (std::filesystem::path{path} / "config.json").string() : path;
  const auto json = parse_config_json(file);
  if (const auto type = json.find("model_type"); type == json.end() || *type != "mixtral")
    detail::refuse_config(file, (type == json.end() ? "has no model_type" : "model_type is " + detail::shown(*type)) +
                                    ", and this reads a mixtral. Fix: give the config.json of a Mixtral.");
  MixtralConfig config;
  detail::ConfigFields fields{json, file};
  detail::read_sizes(fields, config.sizes, detail::NullSize::refused);
  detail::read_expert_alias(fields, config.sizes);
  detail::read_rotary(fields, config.rope_theta);
  detail::read_dtype(fields, config.dtype);
  fields.number("rms_norm_eps", config.rms_norm_eps, 0);
  fields.number("router_aux_loss_coef", config.router_aux_loss_coef, 0);
  fields.number("initializer_range", config.initializer_range, 0);
  if (fields.number("router_jitter_noise", config.router_jitter_noise, 0) && config.router_jitter_noise != 0)
    fields.problem("router_jitter_noise is " + detail::shown(config.router_jitter_noise) +
                   ", and only 0 is supported: routers here see their input as it is. Fix: write 0.");
  fields.flag("output_router_logits", config.output_router_logits, detail::NullSize::refused);
  fields.size("max_position_embeddings", config.max_position_embeddings, detail::NullSize::refused);
  fields.token("bos_token_id", config.sizes.vocab_size, config.bos_token_id);
  fields.token("eos_token_id", config.sizes.vocab_size, config.eos_token_id);
  fields.token("pad_token_id", config.sizes.vocab_size, config.pad_token_id);
  fields.rest(detail::known_config_fields);
  if (fields.good()) fields.attempt([&] { check_sizes(config.sizes); });  // else a wrong size is reported twice
  fields.report();
  return config;
}

}  // namespace moepar
