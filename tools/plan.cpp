// SPDX-License-Identifier: Apache-2.0
// Which layouts of a Mixtral are legal on a world, what a rank keeps and sends under each, and which fits a memory.
// The arithmetic is the library's own: the functions that Deployment calls for a type.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <moepar/model.hpp>
#include <moepar/models/config_json.hpp>
#include <moepar/models/mixtral_config.hpp>
#include <nlohmann/json.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace mp = moepar;
using mp::Index;

namespace {

constexpr Index largest_size = Index{1} << 30;  // of one number of a model or a step

struct Options {
  mp::MixtralSizes sizes = mp::mixtral_8x7b;
  std::string config;
  Index world = 8;
  Index expert_degree = 0;  // 0: all legal ones
  std::string memory = "80GB";
  mp::StepShape step{.sequences = 1, .length = 4096, .precision = mp::Precision::bf16};
  bool recompute = true;
  bool json = false;
};

struct Row {
  Index expert, shard;
  mp::Layout layout;
  mp::StateBytes state;
  mp::TrafficBytes traffic;
  bool fits, smallest;
};

// Only its sizes count here, so fields that the planner does not know are passed over.
void read_config(const std::string& file, mp::MixtralSizes& sizes) {
  const auto config = mp::parse_config_json(file);
  if (const auto type = config.find("model_type"); type != config.end() && *type != "mixtral")
    throw mp::Error{fmt::format(
        "moepar plan: {}: model_type is {}, and this program plans a mixtral. Fix: give its sizes by options.", file,
        mp::detail::shown(*type))};
  if (mp::read_mixtral_sizes(config, file, sizes) == 0)
    throw mp::Error{fmt::format(
        "moepar plan: {}: names no size of a model (hidden_size, num_local_experts, ...). Fix: give the config.json of "
        "a Mixtral.",
        file)};
}

// "80GB", "24 GiB", "512MB" or a number of bytes.
Index parse_memory(const std::string& text) {
  const std::pair<std::string_view, double> units[] = {{"GiB", 0x1p30}, {"GB", 1e9},  {"MiB", 0x1p20}, {"MB", 1e6},
                                                       {"TiB", 0x1p40}, {"TB", 1e12}, {"", 1}};
  std::size_t used = std::min(text.find_first_not_of("0123456789."), text.size());
  double value = 0;
  try {
    value = std::stod(text.substr(0, used));
  } catch (const std::exception&) {
    used = 0;
  }
  std::string_view unit = std::string_view{text}.substr(used);
  while (!unit.empty() && unit.front() == ' ') unit.remove_prefix(1);
  for (const auto& [name, bytes] : units)
    if (used > 0 && unit == name && value * bytes >= 1 && value * bytes < 0x1p62)
      return static_cast<Index>(value * bytes);
  throw mp::Error{fmt::format(
      "moepar plan: --memory {}: not an amount of memory. Fix: write for example 80GB, 24GiB or 512MB.", text)};
}

// Every number may be large, but not all together: the sums of a plan are whole numbers below 2^63.
void check_magnitude(const mp::MixtralSizes& sizes, const mp::StepShape& step) {
  const auto real = [](Index value) { return static_cast<double>(value); };
  const double hidden = real(sizes.hidden_size), layers = real(sizes.num_hidden_layers);
  const double head = sizes.head_dim == 0 ? hidden / real(sizes.num_attention_heads) : real(sizes.head_dim);
  const double parameters = 2 * real(sizes.vocab_size) * hidden +
                            layers * hidden *
                                (4 * real(sizes.num_attention_heads) * head +
                                 real(sizes.num_local_experts) * (1 + 3 * real(sizes.intermediate_size)));
  const double routed =
      6 * layers * hidden * real(sizes.num_experts_per_tok) * real(step.sequences) * real(step.length);
  if (parameters > 0x1p57 || routed > 0x1p60)
    throw mp::Error{
        fmt::format("moepar plan: {:.2g} parameters and {:.2g} elements sent to experts in a step: more than "
                    "this program counts. Fix: check the sizes.",
                    parameters, routed)};
}

std::vector<Row> plan(const Options& options, const mp::Census& census, Index memory) {
  std::vector<Row> rows;
  for (Index expert = 1; expert <= std::min(options.sizes.num_local_experts, options.world); ++expert) {
    if (options.expert_degree != 0 && expert != options.expert_degree) continue;
    if (options.sizes.num_local_experts % expert != 0 || options.world % expert != 0) continue;
    const auto smallest =
        mp::smallest_shard_degree_that_fits(census, options.world, expert, memory, options.step.precision);
    mp::any_shard_degree(options.world, expert, [&](Index shard) {
      const auto layout =
          mp::checked_layout({.expert = expert, .shard = shard}, options.world, options.sizes.num_local_experts);
      const auto state = mp::state_of_rank(census, layout, options.step.precision);
      rows.push_back({expert, shard, layout, state, mp::traffic_of_rank(census, layout, options.step),
                      state.total() <= memory, smallest == shard});
      return false;
    });
  }
  return rows;
}

std::string bytes(Index value) {
  const char* const units[] = {"B", "kB", "MB", "GB", "TB", "PB"};
  double scaled = static_cast<double>(value);
  std::size_t unit = 0;
  for (; scaled >= 999.95 && unit + 1 < std::size(units); ++unit) scaled /= 1000;
  return unit == 0 ? fmt::format("{} B", value) : fmt::format("{:.1f} {}", scaled, units[unit]);
}

const char* name(mp::Precision precision) { return precision == mp::Precision::f32 ? "f32" : "bf16"; }

void print_table(const Options& options, const mp::Census& census, Index memory, const std::vector<Row>& rows) {
  const auto count = census.parameters();
  fmt::print("{:.2f} billion parameters, {:.2f} used by a token; {} experts, top-{}\n",
             static_cast<double>(count.total()) * 1e-9, static_cast<double>(count.active) * 1e-9,
             options.sizes.num_local_experts, options.sizes.num_experts_per_tok);
  fmt::print("{} rank{}, {} tokens a rank and step, {}{}, {} for the state of a rank\n\n", options.world,
             options.world == 1 ? "" : "s", options.step.tokens(),
             options.step.precision == mp::Precision::f32 ? "f32" : "bf16 with f32 master",
             options.recompute ? ", blocks recomputed" : "", bytes(memory));
  fmt::print("                           a rank keeps                                a rank sends in a step\n");
  fmt::print("{:>3} {:>8} {:>9} | {:>9} {:>9} {:>9} {:>9} | {:>9} {:>9} {:>9} {:>9}\n", "EP", "HSD", "replicas",
             "weights", "gradients", "optimizer", "total", "gather", "reduce", "replicate", "experts");
  Index group = 0;
  for (const Row& row : rows) {
    if (group != 0 && row.expert != group) fmt::print("\n");
    group = row.expert;
    fmt::print(
        "{:>3} {:>8} {:>9} | {:>9} {:>9} {:>9} {:>9} | {:>9} {:>9} {:>9} {:>9}{}\n", row.expert,
        row.shard == 0 ? std::string{"0 (all)"} : std::to_string(row.shard),
        fmt::format("{}/{}", row.layout.replica_degree(mp::Kind::dense), row.layout.replica_degree(mp::Kind::expert)),
        bytes(row.state.parameters), bytes(row.state.gradients), bytes(row.state.optimizer), bytes(row.state.total()),
        bytes(row.traffic.gather), bytes(row.traffic.reduce), bytes(row.traffic.replicate), bytes(row.traffic.exchange),
        row.smallest ? "  <- smallest HSD that fits"
        : row.fits   ? ""
                     : "  too large");
  }
  const bool any = std::any_of(rows.begin(), rows.end(), [](const Row& row) { return row.fits; });
  if (!any)
    fmt::print("\nNo layout fits {}. More ranks, more memory a rank or a smaller model would.\n", bytes(memory));
}

void print_json(const Options& options, const mp::Census& census, Index memory, const std::vector<Row>& rows) {
  nlohmann::ordered_json out;
  const auto count = census.parameters();
  out["parameters"] = {
      {"total", count.total()}, {"dense", count.dense}, {"expert", count.expert}, {"active", count.active}};
  out["world"] = options.world;
  out["precision"] = name(options.step.precision);
  out["tokens_per_rank"] = options.step.tokens();
  out["memory"] = memory;
  out["layouts"] = nlohmann::ordered_json::array();
  for (const Row& row : rows)
    out["layouts"].push_back({{"expert_degree", row.expert},
                              {"hybrid_shard_degree", row.shard},
                              {"dense_replicas", row.layout.replica_degree(mp::Kind::dense)},
                              {"expert_replicas", row.layout.replica_degree(mp::Kind::expert)},
                              {"state_bytes",
                               {{"parameters", row.state.parameters},
                                {"gradients", row.state.gradients},
                                {"optimizer", row.state.optimizer},
                                {"total", row.state.total()}}},
                              {"sent_bytes",
                               {{"gather", row.traffic.gather},
                                {"reduce", row.traffic.reduce},
                                {"replicate", row.traffic.replicate},
                                {"exchange", row.traffic.exchange}}},
                              {"fits", row.fits},
                              {"smallest_that_fits", row.smallest}});
  fmt::print("{}\n", out.dump(2));
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Legal layouts of a Mixtral: bytes a rank keeps, bytes it sends in a step, and the smallest hybrid shard degree "
      "(HSD) that fits. Sizes are those of Mixtral 8x7B unless a config.json or an option says otherwise."};
  app.name("./dev plan");
  app.set_help_flag("-h,--help", "This text");
  std::string precision = "bf16";
  bool no_recompute = false;
  app.add_option("--config", options.config, "config.json of a Hugging Face Mixtral; options below override it");
  app.add_option("--world", options.world, "Ranks (default 8, at most 2^24)");
  app.add_option("--expert-parallel", options.expert_degree, "Only this expert degree (EP)");
  app.add_option("--memory", options.memory, "Memory for the state of a rank (default 80GB)");
  app.add_option("--precision", precision, "f32 or bf16 (with f32 master; default)");
  app.add_option("--sequences", options.step.sequences, "Sequences a rank and step (default 1)");
  app.add_option("--length", options.step.length, "Tokens of a sequence (default 4096)");
  app.add_flag("--no-recompute", no_recompute, "Blocks keep their activations");
  app.add_flag("--json", options.json, "JSON on standard output");
  auto* sizes = app.add_option_group("sizes", "Sizes of the model, under the names of config.json");
  mp::MixtralSizes asked{.vocab_size = 0,
                         .hidden_size = 0,
                         .intermediate_size = 0,
                         .num_hidden_layers = 0,
                         .num_attention_heads = 0,
                         .num_key_value_heads = 0,
                         .head_dim = 0,
                         .num_local_experts = 0,
                         .num_experts_per_tok = 0};
  const std::pair<const char*, Index mp::MixtralSizes::*> fields[] = {
      {"--vocab_size", &mp::MixtralSizes::vocab_size},
      {"--hidden_size", &mp::MixtralSizes::hidden_size},
      {"--intermediate_size", &mp::MixtralSizes::intermediate_size},
      {"--num_hidden_layers", &mp::MixtralSizes::num_hidden_layers},
      {"--num_attention_heads", &mp::MixtralSizes::num_attention_heads},
      {"--num_key_value_heads", &mp::MixtralSizes::num_key_value_heads},
      {"--head_dim", &mp::MixtralSizes::head_dim},
      {"--num_local_experts", &mp::MixtralSizes::num_local_experts},
      {"--num_experts_per_tok", &mp::MixtralSizes::num_experts_per_tok}};
  for (const auto& [flag, member] : fields)
    sizes->add_option(flag, asked.*member, fmt::format("Default {}", mp::mixtral_8x7b.*member));
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    throw mp::Error{fmt::format("moepar plan: {}. Fix: --help lists the options.", error.what())};
  }

  if (!options.config.empty()) read_config(options.config, options.sizes);
  for (const auto& [flag, member] : fields)
    if (sizes->get_option(flag)->count() > 0) options.sizes.*member = asked.*member;
  for (const auto& [flag, member] : fields)
    if (options.sizes.*member > largest_size)
      throw mp::Error{
          fmt::format("moepar plan: {} is {}, more than 2^30. Fix: check it.", flag + 2, options.sizes.*member)};
  mp::check_sizes(options.sizes);
  mp::check_world_has_ranks(options.world);
  if (precision != "f32" && precision != "bf16")
    throw mp::Error{fmt::format("moepar plan: --precision {}: not known. Fix: choose f32 or bf16.", precision)};
  options.step.precision = precision == "f32" ? mp::Precision::f32 : mp::Precision::bf16;
  options.recompute = !no_recompute;
  for (const auto& [flag, value] :
       {std::pair{"--sequences", options.step.sequences}, {"--length", options.step.length}})
    if (value < 1 || value > largest_size)
      throw mp::Error{
          fmt::format("moepar plan: {} {}: must be between 1 and 2^30. Fix: choose such a number.", flag, value)};
  if (options.expert_degree != 0) {
    mp::check_degree_divides_expert_count(options.expert_degree, options.sizes.num_local_experts);
    mp::check_degree_divides_world_size(options.expert_degree, options.world);
  }

  check_magnitude(options.sizes, options.step);
  const Index memory = parse_memory(options.memory);
  const auto census = mp::census_of(options.sizes, options.recompute);
  const auto rows = plan(options, census, memory);
  (options.json ? print_json : print_table)(options, census, memory, rows);
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
