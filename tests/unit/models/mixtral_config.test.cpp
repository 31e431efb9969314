// SPDX-License-Identifier: Apache-2.0
#include <moepar/models/mixtral_config.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>

#include <nlohmann/json.hpp>

#include <moepar/core/error.hpp>
#include <moepar/models/mixtral_config_json.hpp>
#include <moepar/models/mixtral_source.hpp>

namespace {

using moepar::Index;
using moepar::MixtralConfig;
using moepar::MixtralSizes;
using nlohmann::json;

const std::filesystem::path recorded = std::filesystem::path{MOEPAR_ROOT} / "tests/unit/models";

// A config.json in a folder of its own, gone with this.
class ConfigFile {
 public:
  explicit ConfigFile(std::string_view text) {
    std::string name = (std::filesystem::temp_directory_path() / "moepar-config-XXXXXX").string();
    REQUIRE(mkdtemp(name.data()) != nullptr);
    folder_ = name;
    std::ofstream{path(), std::ios::binary} << text;
  }
  ~ConfigFile() {
    std::error_code ignored;
    std::filesystem::remove_all(folder_, ignored);
  }
  ConfigFile(const ConfigFile&) = delete;
  ConfigFile& operator=(const ConfigFile&) = delete;

  [[nodiscard]] std::string folder() const { return folder_; }
  [[nodiscard]] std::string path() const { return folder_ + "/config.json"; }

 private:
  std::string folder_{};
};

MixtralConfig read(std::string_view text) { return moepar::read_mixtral_config(ConfigFile{text}.path()); }

// A small model in the words of version 4.
json small() {
  return json::parse(R"({"model_type": "mixtral", "architectures": ["MixtralForCausalLM"], "vocab_size": 48,
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4,
    "num_key_value_heads": 2, "num_local_experts": 4, "num_experts_per_tok": 2, "rope_theta": 10000.0})");
}

MixtralConfig with(const char* name, const json& value) {
  auto config = small();
  config[name] = value;
  return read(config.dump());
}

// What the reader says about the file; empty when it reads.
std::string said(std::string_view text) {
  const ConfigFile file{text};
  try {
    (void)moepar::read_mixtral_config(file.folder());
  } catch (const moepar::Error& error) {
    const std::string what = error.what();
    CHECK(what.find(file.path()) != std::string::npos);
    CHECK(what.find("Fix: ") != std::string::npos);
    CHECK(what.size() < 8000);
    return what;
  }
  return {};
}

std::string said_with(const char* name, const json& value) {
  auto config = small();
  config[name] = value;
  return said(config.dump());
}

bool has(const std::string& text, std::string_view part) {
  INFO(text);
  return text.find(part) != std::string::npos;
}

TEST_CASE("the published Mixtral 8x7B reads") {
  const auto config = moepar::read_mixtral_config((recorded / "mixtral_8x7b.json").string());
  const MixtralConfig expected{.router_aux_loss_coef = 0.02, .max_position_embeddings = 32768, .dtype = "bfloat16"};
  CHECK(config == expected);
  CHECK(config.sizes == moepar::mixtral_8x7b);
  CHECK(moepar::census_of(config.sizes, false).parameters().total() == 46'702'792'704);
}

TEST_CASE("what transformers 5.24 writes reads") {
  const auto config = moepar::read_mixtral_config((recorded / "saved_by_transformers_5.json").string());
  const MixtralConfig expected{.sizes = {.vocab_size = 48,
                                         .hidden_size = 32,
                                         .intermediate_size = 64,
                                         .num_hidden_layers = 2,
                                         .num_attention_heads = 4,
                                         .num_key_value_heads = 2,
                                         .num_local_experts = 4},
                               .dtype = "float32"};
  CHECK(config == expected);
}

TEST_CASE("a file or its folder; what is left out has transformers' defaults") {
  const ConfigFile file{R"({"model_type": "mixtral"})"};
  CHECK(moepar::read_mixtral_config(file.path()) == MixtralConfig{});
  CHECK(moepar::read_mixtral_config(file.folder()) == MixtralConfig{});
  CHECK(moepar::read_mixtral_config(file.folder() + "/") == MixtralConfig{});
}

TEST_CASE("every size is read, and refused when it is none") {
  const std::pair<const char*, Index MixtralSizes::*> sizes[] = {
      {"vocab_size", &MixtralSizes::vocab_size},
      {"hidden_size", &MixtralSizes::hidden_size},
      {"intermediate_size", &MixtralSizes::intermediate_size},
      {"num_hidden_layers", &MixtralSizes::num_hidden_layers},
      {"num_attention_heads", &MixtralSizes::num_attention_heads},
      {"num_key_value_heads", &MixtralSizes::num_key_value_heads},
      {"head_dim", &MixtralSizes::head_dim},
      {"num_local_experts", &MixtralSizes::num_local_experts},
      {"num_experts_per_tok", &MixtralSizes::num_experts_per_tok}};
  for (const auto& [name, member] : sizes) {
    INFO(std::string{name});
    const Index good = member == &MixtralSizes::hidden_size ? 16 : 4;
    CHECK(with(name, good).sizes.*member == good);
    CHECK(has(said_with(name, "4"), std::string{name} + " must be a whole number, but is \"4\""));
    CHECK(has(said_with(name, 4.0), std::string{name} + " must be a whole number, but is 4.0"));
    CHECK(has(said_with(name, true), std::string{name} + " must be a whole number, but is true"));
    CHECK(has(said_with(name, json::array({4})), std::string{name} + " must be a whole number"));
    CHECK(has(said_with(name, 0), std::string{name} + " = 0, less than 1"));
    CHECK(has(said_with(name, -4), std::string{name} + " = -4, less than 1"));
    CHECK(has(said_with(name, (Index{1} << 30) + 1), std::string{name} + " is 1073741825, more than 2^30"));
    CHECK(has(said_with(name, std::numeric_limits<std::uint64_t>::max()), "more than 2^30"));
    const bool may_be_null = member == &MixtralSizes::head_dim || member == &MixtralSizes::num_key_value_heads;
    CHECK((said_with(name, nullptr) == "") == may_be_null);
  }
  CHECK(with("head_dim", nullptr).sizes.head_dim == 0);
  CHECK(with("num_key_value_heads", nullptr).sizes.num_key_value_heads == 4);
  CHECK(with("vocab_size", Index{1} << 30).sizes.vocab_size == Index{1} << 30);
}

TEST_CASE("sizes that do not fit together are refused in the compiler's words") {
  CHECK(has(said_with("num_key_value_heads", 3), "KvHeads must divide Heads (KvHeads = 3, Heads = 4)"));
  CHECK(has(said_with("num_experts_per_tok", 5), "(TopK = 5, ExpertCount = 4)"));
  CHECK(has(said_with("hidden_size", 33), "Heads must divide Hidden (Heads = 4, Hidden = 33)"));
  CHECK(has(said_with("head_dim", 7), "HeadSize must be even"));
}

TEST_CASE("the numbers of the model are read, and refused out of range") {
  const std::pair<const char*, double MixtralConfig::*> numbers[] = {
      {"rms_norm_eps", &MixtralConfig::rms_norm_eps},
      {"rope_theta", &MixtralConfig::rope_theta},
      {"router_aux_loss_coef", &MixtralConfig::router_aux_loss_coef},
      {"initializer_range", &MixtralConfig::initializer_range}};
  for (const auto& [name, member] : numbers) {
    INFO(std::string{name});
    CHECK(with(name, 1.25).*member == 1.25);
    CHECK(with(name, 3).*member == 3);
    CHECK(has(said_with(name, -0.5), std::string{name} + " is -0.5, less than "));
    CHECK(has(said_with(name, "1"), std::string{name} + " must be a number, but is \"1\""));
    CHECK(has(said_with(name, nullptr), std::string{name} + " must be a number, but is null"));
    CHECK(has(said_with(name, json{{"__float__", "Infinity"}}), std::string{name} + " must be a number"));
    CHECK(has(said(R"({"model_type": "mixtral", ")" + std::string{name} + R"(": 1e400})"), "is no JSON"));
    CHECK(has(said(R"({"model_type": "mixtral", ")" + std::string{name} + R"(": NaN})"), "is no JSON"));
  }
  CHECK(has(said_with("rope_theta", 0.5), "rope_theta is 0.5, less than 1"));
  CHECK(with("router_jitter_noise", 0.0).router_jitter_noise == 0);
  CHECK(has(said_with("router_jitter_noise", 0.1), "router_jitter_noise is 0.1, and only 0 is supported"));
  CHECK(with("max_position_embeddings", 512).max_position_embeddings == 512);
  CHECK(has(said_with("max_position_embeddings", 0.5), "max_position_embeddings must be a whole number"));
}

TEST_CASE("flags are read, and nothing else counts as one") {
  CHECK(with("tie_word_embeddings", true).sizes.tie_word_embeddings);
  CHECK(with("output_router_logits", true).output_router_logits);
  for (const char* name : {"tie_word_embeddings", "output_router_logits"})
    for (const json& value : {json(1), json("true"), json(nullptr)})
      CHECK(has(said_with(name, value), std::string{name} + " must be true or false"));
}

TEST_CASE("the base of rotary positions, as versions 4 and 5 write it") {
  auto config = small();
  config.erase("rope_theta");
  CHECK(read(config.dump()).rope_theta == 1e6);
  config["rope_parameters"] = nullptr;
  CHECK(read(config.dump()).rope_theta == 1e6);
  config["rope_parameters"] = {{"rope_type", "default"}, {"rope_theta", 5e5}};
  CHECK(read(config.dump()).rope_theta == 5e5);
  config["rope_theta"] = 500000;
  CHECK(read(config.dump()).rope_theta == 5e5);
  config["rope_theta"] = 1e4;
  CHECK(has(said(config.dump()), "rope_theta is 10000.0 and rope_parameters.rope_theta is 500000.0"));
  CHECK(with("rope_parameters", {{"rope_type", "default"}}).rope_theta == 1e4);
  CHECK(with("rope_parameters", {{"type", "default"}, {"partial_rotary_factor", 1.0}}).rope_theta == 1e4);

  CHECK(has(said_with("rope_parameters", {{"rope_type", "yarn"}}), "rope_parameters.rope_type is \"yarn\""));
  CHECK(has(said_with("rope_parameters", {{"factor", 4}}), "rope_parameters: the field \"factor\" (4) is not known"));
  CHECK(has(said_with("rope_parameters", {{"partial_rotary_factor", 0.5}}), "\"partial_rotary_factor\" (0.5)"));
  CHECK(has(said_with("rope_parameters", {{"rope_theta", nullptr}}), "rope_parameters.rope_theta must be a number"));
  CHECK(has(said_with("rope_parameters", 3), "rope_parameters must be an object"));
  CHECK(has(said_with("rope_scaling", {{"type", "linear"}, {"factor", 2}}), "rope_scaling is {"));
}

TEST_CASE("the type of weights, as versions 4 and 5 write it") {
  for (const char* type : {"float32", "bfloat16", "float16", "float64"}) {
    CHECK(with("torch_dtype", type).dtype == type);
    CHECK(with("dtype", type).dtype == type);
  }
  CHECK(with("dtype", nullptr).dtype == "");
  auto config = small();
  config["dtype"] = config["torch_dtype"] = "bfloat16";
  CHECK(read(config.dump()).dtype == "bfloat16");
  config["dtype"] = "float32";
  CHECK(has(said(config.dump()), "torch_dtype is \"bfloat16\" and dtype is \"float32\""));
  CHECK(has(said_with("dtype", "float8_e4m3fn"), "dtype is \"float8_e4m3fn\""));
  CHECK(has(said_with("torch_dtype", 16), "torch_dtype is 16"));
}

TEST_CASE("tokens that begin and end a text") {
  const std::pair<const char*, Index MixtralConfig::*> tokens[] = {{"bos_token_id", &MixtralConfig::bos_token_id},
                                                                   {"eos_token_id", &MixtralConfig::eos_token_id}};
  for (const auto& [name, member] : tokens) {
    CHECK(with(name, 47).*member == 47);
    CHECK(with(name, 0).*member == 0);
    CHECK(with(name, nullptr).*member == -1);
    CHECK(with(name, -1).*member == -1);
    CHECK(with(name, json::array({7})).*member == 7);
    CHECK(has(said_with(name, 48), std::string{name} + " is 48, outside of the vocabulary of 48"));
    CHECK(has(said_with(name, -2), std::string{name} + " is -2, outside"));
    CHECK(has(said_with(name, std::numeric_limits<std::uint64_t>::max()), "outside of the vocabulary"));
    CHECK(has(said_with(name, json::array({7, 8})), "one token is supported"));
    CHECK(has(said_with(name, json::array()), "one token is supported"));
    CHECK(has(said_with(name, json::array({json::array({7})})), "one token is supported"));
    CHECK(has(said_with(name, "</s>"), std::string{name} + " must be a token or null"));
    CHECK(has(said_with(name, 2.5), std::string{name} + " must be a token or null"));
  }
  auto config = small();
  config["vocab_size"] = 2;
  CHECK(read(config.dump()).bos_token_id == 1);
  CHECK(read(config.dump()).eos_token_id == -1);
}

TEST_CASE("version 5 may call the experts num_experts") {
  auto config = small();
  config["num_experts"] = 4;
  CHECK(read(config.dump()).sizes.num_local_experts == 4);
  config["num_experts"] = 8;
  CHECK(has(said(config.dump()), "num_experts is 8 and num_local_experts is 4"));
  config.erase("num_local_experts");
  CHECK(read(config.dump()).sizes.num_local_experts == 8);
}

TEST_CASE("every known field: all that it may be reads, other values are refused with the reason") {
  const auto base = read(small().dump());
  for (const auto& field : moepar::detail::known_config_fields) {
    INFO(std::string{field.name});
    const std::string_view name = field.name;
    const json values = field.allowed != nullptr
                            ? json::parse(field.allowed)
                            : json::parse(R"([null, true, 3, 0.5, "x", [1, {}], {"a": {"b": 1}}])");
    for (const auto& value : values) CHECK(with(field.name, value) == base);
    if (field.allowed == nullptr) continue;
    for (const json& value : {json(0.125), json("other"), json(true), json{{"a", 1}}, json::array({"b"})})
      CHECK(has(said_with(field.name, value), name == "model_type" ? "reads a mixtral" : field.reason));
  }
  for (const char* name : {"hidden_act", "attention_dropout", "model_type"}) CHECK(said_with(name, nullptr) != "");
  CHECK(has(said_with("sliding_window", 4096), "sliding_window is 4096, and only null is supported"));
  CHECK(has(said_with("hidden_act", "gelu"), "hidden_act is \"gelu\", and only \"silu\" or \"swish\" is supported"));
  CHECK(has(said_with("architectures", json::array({"MixtralForSequenceClassification"})), "architectures is [\"Mi"));
}

TEST_CASE("no field is passed over") {
  CHECK(has(said_with("num_shared_experts", 2), "the field \"num_shared_experts\" (2) is not known"));
  CHECK(has(said_with("hidden_sizes", nullptr), "the field \"hidden_sizes\" (null) is not known"));
  CHECK(has(said_with("Hidden_size", 32), "\"Hidden_size\""));
  CHECK(has(said_with("", 1), "the field \"\" (1)"));
  CHECK(has(said_with("\x1b[31m\n", "\x1b[0m"), "\"\\u001b[31m\\n\" (\"\\u001b[0m\")"));
  CHECK(has(said_with(std::string(500, 'x').c_str(), std::string(5000, 'y')), "xxx... (\"yyy"));
}

TEST_CASE("all problems of a file are told together, twenty at most") {
  auto config = small();
  config["hidden_size"] = "x";
  config["sliding_window"] = 4;
  config["surprise"] = 1;
  const auto text = said(config.dump());
  CHECK(has(text, "has 3 problems"));
  for (const char* part : {"hidden_size must be", "sliding_window is 4", "\"surprise\""}) CHECK(has(text, part));
  for (int i = 0; i < 1000; ++i) config["field" + std::to_string(i)] = i;
  CHECK(has(said(config.dump()), "has 1003 problems"));
  CHECK(has(said(config.dump()), "and 983 more"));
}

TEST_CASE("hostile files are refused before they are trusted") {
  CHECK(has(said(""), "is no JSON"));
  CHECK(has(said("[1]"), "is no JSON object"));
  CHECK(has(said("3"), "is no JSON object"));
  CHECK(has(said(std::string(100000, '[')), "nested more than 16 deep"));
  std::string deep;
  for (int i = 0; i < 50; ++i) deep += "{\"a\":";
  CHECK(has(said(deep + "1" + std::string(50, '}')), "nested more than 16 deep"));
  CHECK(has(said(R"({"model_type": "mixtral", "model_type": "mixtral"})"), "the key \"model_type\" stands twice"));
  CHECK(
      has(said(R"({"model_type": "mixtral", "rope_parameters": {"rope_theta": 1, "rope_theta": 2}})"), "stands twice"));
  CHECK(has(said(R"({"model_type": "mixtral"} {})"), "is no JSON"));
  CHECK(has(said(R"({"model_type": "mixtral")"), "is no JSON"));
  CHECK(has(said("{\"\xff\xfe\": 1}"), "is no JSON"));
  CHECK(has(said("{\"" + std::string(1000000, 'x')), "is no JSON"));
  CHECK(has(said(std::string("{}\0", 3)), "holds a NUL byte"));
  CHECK(has(said(std::string(2000000, ' ')), "larger than 1 MiB"));
  CHECK(has(said(R"({"model_type": "llama"})"), "model_type is \"llama\", and this reads a mixtral"));
  CHECK(has(said("{}"), "has no model_type"));
  const ConfigFile file{"{}"};
  for (const auto& path : {file.path() + ".absent", std::string{"/dev/zero"}, std::string{""}, std::string(5000, 'x')})
    CHECK_THROWS_AS((void)moepar::read_mixtral_config(path), moepar::Error);
}

TEST_CASE("sizes alone, for a planner: fields that are not sizes are not looked at") {
  const auto config = json::parse(R"({"hidden_size": 64, "num_hidden_layers": null, "sliding_window": 5, "new": 1})");
  MixtralSizes sizes;
  CHECK(moepar::read_mixtral_sizes(config, "a file", sizes) == 1);
  CHECK(sizes == MixtralSizes{.hidden_size = 64});
  CHECK(moepar::read_mixtral_sizes(json::object(), "a file", sizes) == 0);
  CHECK_THROWS_WITH_AS(moepar::read_mixtral_sizes(json{{"head_dim", "x"}}, "a file", sizes),
                       "moepar: a file: head_dim must be a whole number, but is \"x\". Fix: write a number.",
                       moepar::Error);
}

TEST_CASE("the config.json that is written reads back as what it was written from") {
  for (auto config : {read(small().dump()), MixtralConfig{},
                      MixtralConfig{.sizes = {.head_dim = 64, .tie_word_embeddings = true},
                                    .rms_norm_eps = 1.0 / 3e7,
                                    .rope_theta = 123456789.0123,
                                    .router_aux_loss_coef = 0,
                                    .initializer_range = 5e-324,
                                    .output_router_logits = true,
                                    .bos_token_id = -1,
                                    .eos_token_id = 31999}}) {
    config.dtype = "float32";  // what weights are written as
    CHECK(read(moepar::mixtral_config_json(config)) == config);
  }
}

TEST_CASE("numbers are written as Python writes them") {
  using moepar::detail::number_text;
  const std::pair<double, const char*> cases[] = {{0, "0.0"},
                                                  {1, "1.0"},
                                                  {1e6, "1000000.0"},
                                                  {0.02, "0.02"},
                                                  {1e-5, "1e-05"},
                                                  {1e-4, "0.0001"},
                                                  {1.0 / 3, "0.3333333333333333"},
                                                  {1e16, "1e+16"},
                                                  {123456.75, "123456.75"}};
  for (const auto& [value, text] : cases) CHECK(number_text(value) == text);
}

TEST_CASE("the source of a program says what was chosen") {
  auto config = read(small().dump());
  const auto source = [&](const moepar::ProgramChoices& choices) {
    return moepar::mixtral_program_source(config, choices, "a/config.json");
  };
  const auto plain = source({});
  CHECK(has(plain, "// Mixtral of a/config.json as a type"));
  CHECK(has(plain, "vocabulary = 48, layers = 2;"));
  CHECK(has(plain, "ranks = 1, expert_degree = 1, shard_degree = 1;"));
  CHECK(has(plain, "mp::Attention<hidden, heads, kv_heads>, MoeLayer> {};"));
  CHECK(has(plain, ".rotary_theta = 10000.0,"));
  CHECK(has(plain, "mp::Router<mp::RoundAuxiliaryLoss, top_k>"));
  for (const char* absent : {"AllGather", "tied", "Recompute", "head_size"}) CHECK(!has(plain, absent));

  CHECK(has(source({.world = 8, .expert_parallel = 3, .shard = 0}), "ranks = 8, expert_degree = 3, shard_degree = 0;"));
  CHECK(has(source({.dispatcher = "all-gather"}), "expert_degree, mp::AllGather> {};"));
  CHECK(has(source({.recompute = true}), "struct Block : mp::Recompute<mp::TransformerBlock<"));
  const std::pair<const char*, const char*> routers[] = {{"transformers-sequence", "mp::AuxiliaryLoss,"},
                                                         {"megatron", "mp::RoundMegatronLoss,"},
                                                         {"megatron-sequence", "mp::MegatronLoss,"},
                                                         {"none", "mp::TopKSoftmax,"},
                                                         {"sinkhorn", "mp::Sinkhorn,"},
                                                         {"sinkhorn-round", "mp::RoundSinkhorn,"}};
  for (const auto& [name, type] : routers) CHECK(has(source({.router = name}), type));
  CHECK_THROWS_WITH_AS((void)source({.dispatcher = "pigeons"}),
                       "moepar: there is no dispatcher 'pigeons'. Fix: choose one of all-to-all, all-gather.",
                       moepar::Error);
  CHECK_THROWS_AS((void)source({.router = ""}), moepar::Error);

  config.sizes.tie_word_embeddings = true;
  config.sizes.head_dim = 8;  // 32 / 4, so nothing to say
  CHECK(has(source({}), "mp::HeadWeights::tied>"));
  CHECK(!has(source({}), "head_size"));
  config.sizes.head_dim = 6;
  CHECK(has(source({}), "mp::Attention<hidden, heads, kv_heads, head_size>"));
  CHECK(has(source({}), "head_size = 6;"));
}

TEST_CASE("a path cannot leave the comment that it stands in") {
  for (const std::string& path : {std::string{"a\n#error"}, std::string{"a\\\nb"}, std::string{"a\r\v\f\\"},
                                  std::string{"\x80\xff*/"}, std::string(300, 'x')}) {
    const auto source = moepar::mixtral_program_source({}, {}, path);
    const auto line = source.substr(0, source.find('\n'));
    CHECK(line.ends_with(" as a type. Edit it, and compile it:"));
    CHECK(line.size() < 120);
    CHECK(line.find('\\') == std::string::npos);
  }
}

}  // namespace
