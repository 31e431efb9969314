// SPDX-License-Identifier: Apache-2.0
// From a config.json to a program: writes the model as a type into PROGRAM.cpp, a file to keep and edit, and compiles
// it. Layouts that cannot work are refused by that compiler, in the library's own sentence.
#include <fmt/format.h>
#include <spawn.h>
#include <sys/wait.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <moepar/core/error.hpp>
#include <moepar/core/hash.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/text_file.hpp>
#include <moepar/models/mixtral_config.hpp>
#include <moepar/models/mixtral_source.hpp>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <vector>

extern char** environ;

namespace mp = moepar;
using mp::Index;
using mp::detail::reason;

namespace {

struct Options {
  std::string config, program, compiler, include = MOEPAR_INCLUDE, flags = "-O3";
  mp::ProgramChoices choices;
  bool source_only = false, keep = false, force = false;
};

[[noreturn]] void refuse(const std::string& what, const std::string& fix) {
  throw mp::Error{fmt::format("moepar model: {}. Fix: {}.", what, fix)};
}

// --- The source: its first line carries a hash of the rest, so that an edited one is known ---

constexpr std::string_view seal_begin = "// Made by ./dev model (",
                           seal_end = "); once edited it is not overwritten.\n";

std::string sealed(const std::string& text) {
  return fmt::format("{}{:016x}{}{}", seal_begin, mp::fnv1a(text), seal_end, text);
}

bool is_as_written(const std::string& text) {
  const auto end = text.find('\n');
  return end != std::string::npos && text == sealed(text.substr(end + 1));
}

// All or nothing: a temporary file beside it, and a rename.
void write_source(const std::string& path, const std::string& text) {
  const std::string partial = path + ".partial";
  const auto fail = [&](int number) {
    std::remove(partial.c_str());
    refuse(fmt::format("'{}' could not be written: {}", path, reason(number)),
           "check the folder, its rights and the disk");
  };
  mp::detail::File file{std::fopen(partial.c_str(), "wb")};
  if (!file) fail(errno);
  if (std::fwrite(text.data(), 1, text.size(), file.get()) != text.size()) fail(errno);
  if (std::fclose(file.release()) != 0) fail(errno);
  if (std::rename(partial.c_str(), path.c_str()) != 0) fail(errno);
}

// Whether the file that is there may be replaced; with --keep an edited one stays and is compiled.
bool may_write(const Options& options, const std::string& path) {
  std::error_code problem;
  if (options.force || !std::filesystem::exists(std::filesystem::symlink_status(path, problem))) return true;
  if (!std::filesystem::is_regular_file(path, problem))
    refuse(fmt::format("'{}' is there and is no file", path), "give -o another name");
  if (std::filesystem::file_size(path, problem) != 0 && is_as_written(mp::read_text(path, 16 * mp::Index{1 << 20})))
    return true;
  if (options.keep) return false;
  refuse(fmt::format("'{}' is there and was not written by this program, or was edited since", path),
         "--keep compiles it as it is, --force writes it anew, -o gives another name");
}

// --- The compiler ---

std::vector<std::string> words(const std::string& text) {
  std::vector<std::string> result;
  for (std::size_t end = 0;;) {
    const auto begin = text.find_first_not_of(" \t\n", end);
    if (begin == std::string::npos) return result;
    end = std::min(text.find_first_of(" \t\n", begin), text.size());
    result.push_back(text.substr(begin, end - begin));
  }
}

// As a shell would need it.
std::string quoted(const std::string& word) {
  constexpr std::string_view plain = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789%+,-./:=@_";
  if (!word.empty() && word.find_first_not_of(plain) == std::string::npos) return word;
  std::string result = "'";
  for (const char c : word) result += c == '\'' ? std::string{"'\\''"} : std::string{c};
  return result + "'";
}

std::string shown(const std::vector<std::string>& command) {
  std::string text;
  for (const auto& word : command) text += (text.empty() ? "" : " ") + quoted(word);
  return text;
}

// The status of the command as waitpid has it; `output` is all that it printed.
int run_command(std::vector<std::string> command, std::string& output) {
  int ends[2];
  if (::pipe(ends) != 0) refuse(fmt::format("no pipe to the compiler: {}", reason(errno)), "close other programs");
  std::vector<char*> arguments;
  for (auto& word : command) arguments.push_back(word.data());
  arguments.push_back(nullptr);
  posix_spawn_file_actions_t actions;
  posix_spawn_file_actions_init(&actions);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDOUT_FILENO);
  posix_spawn_file_actions_adddup2(&actions, ends[1], STDERR_FILENO);
  posix_spawn_file_actions_addclose(&actions, ends[0]);
  posix_spawn_file_actions_addclose(&actions, ends[1]);
  pid_t child = 0;
  const int problem = ::posix_spawnp(&child, arguments[0], &actions, nullptr, arguments.data(), environ);
  posix_spawn_file_actions_destroy(&actions);
  ::close(ends[1]);
  char piece[4096];
  for (ssize_t count = 0; problem == 0; output.append(piece, static_cast<std::size_t>(count))) {
    while ((count = ::read(ends[0], piece, sizeof piece)) < 0 && errno == EINTR) {
    }
    if (count <= 0) break;
  }
  ::close(ends[0]);
  if (problem != 0)
    refuse(fmt::format("the compiler '{}' could not be started: {}", command[0], reason(problem)),
           "install it, or name another by --compiler");
  int status = 0;
  while (::waitpid(child, &status, 0) < 0 && errno == EINTR) {
  }
  return status;
}

// The sentence of the first static assertion of moepar in what a compiler printed: g++ has a colon before it, clang a
// colon or a quote, nvcc a quote.
std::string_view sentence_in(std::string_view output) {
  while (!output.empty()) {
    const std::string_view line = output.substr(0, output.find('\n'));
    output.remove_prefix(std::min(line.size() + 1, output.size()));
    const auto assertion = line.find("static assertion failed");
    if (assertion == std::string_view::npos) continue;
    for (const std::string_view before : {": moepar:", "\"moepar:"})
      if (const auto found = line.find(before, assertion); found != std::string_view::npos) {
        std::string_view sentence = line.substr(found + before.size() - std::string_view{"moepar:"}.size());
        if (sentence.ends_with('"')) sentence.remove_suffix(1);
        return sentence;
      }
  }
  return {};
}

int compile(const Options& options, const std::string& source) {
  std::vector<std::string> command{options.compiler};
  if (command[0].empty()) {
    const char* named = std::getenv("CXX");
    command = words(named == nullptr ? "" : named);  // CXX may be "ccache g++"
    if (command.empty()) command = {"g++"};
  }
  const std::string partial = options.program + ".partial";
  command.push_back("-std=c++20");
  for (auto& flag : words(options.flags)) command.push_back(flag);
  command.insert(command.end(), {"-I", options.include, source, "-pthread", "-o", partial});
  fmt::print("{}\n", shown(command));
  std::fflush(stdout);
  std::string output;
  const int status = run_command(command, output);
  if (status != 0) {
    std::remove(partial.c_str());
    if (const auto sentence = sentence_in(output); !sentence.empty()) fmt::print(stderr, "{}\n\n", sentence);
    fmt::print(stderr, "{}", output);
    if (WIFSIGNALED(status))
      fmt::print(stderr, "moepar model: the compiler was ended by signal {}\n", WTERMSIG(status));
    return 1;
  }
  fmt::print(stderr, "{}", output);  // warnings
  std::error_code problem;
  if (!std::filesystem::exists(partial, problem))
    refuse("the compiler was content and wrote no program", "leave such flags as -fsyntax-only out of --flags");
  if (std::rename(partial.c_str(), options.program.c_str()) != 0)
    refuse(fmt::format("'{}' could not be written: {}", options.program, reason(errno)), "give -o another name");
  fmt::print("{}\n", options.program);
  return 0;
}

// --- Options ---

// A path that no program takes for an option.
std::string as_path(const std::string& path) { return path.starts_with('-') ? "./" + path : path; }

std::optional<int> parse(int argc, char** argv, Options& options) {
  CLI::App app{
      "A program from the config.json of a Hugging Face Mixtral: writes the model as a type into PROGRAM.cpp, a file "
      "to "
      "keep and edit, and compiles it. PROGRAM --help then lists what it does."};
  app.name("./dev model");
  app.set_help_flag("-h,--help", "This text");
  auto& choices = options.choices;
  const auto degrees = CLI::Range{-(Index{1} << 31), Index{1} << 31}.description("");  // the compiler says which work
  app.add_option("config", options.config, "Folder of a model, or its config.json")->required();
  app.add_option("-o", options.program, "PROGRAM, which is compiled from PROGRAM.cpp")->required();
  app.add_option("--world", choices.world, "Ranks (default 1)")->check(degrees);
  app.add_option("--expert-parallel", choices.expert_parallel, "Ranks that share the experts of a layer (default 1)")
      ->check(degrees);
  app.add_option("--shard", choices.shard, "Ranks that share one copy of the model; 0: all, 1: none (default 1)")
      ->check(degrees);
  app.add_option("--dispatcher", choices.dispatcher, "How tokens travel: all-to-all (default) or all-gather");
  app.add_option(
      "--router", choices.router,
      "How experts are chosen and balanced: transformers (its auxiliary loss; default), megatron (the loss of "
      "Megatron-LM), each also over a sequence instead of the batch (transformers-sequence, "
      "megatron-sequence), none, sinkhorn (over a sequence), sinkhorn-round (over the batch)");
  app.add_flag("--recompute", choices.recompute, "Blocks compute their activations again in backward");
  app.add_option("--compiler", options.compiler, "Compiler (default $CXX, else g++)");
  app.add_option("--flags", options.flags, "Its flags, separated by spaces (default -O3)");
  app.add_option("--include", options.include, "Folder of moepar's headers")->capture_default_str();
  app.add_flag("--source-only", options.source_only, "Only PROGRAM.cpp; -o may then name it with its .cpp");
  app.add_flag("--keep", options.keep, "If PROGRAM.cpp was edited, compile it as it is");
  app.add_flag("--force", options.force, "If PROGRAM.cpp was edited, write it anew");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    refuse(error.what(), "--help lists the options");
  }
  if (options.keep && options.force) refuse("--keep and --force contradict one another", "give one of them");
  if (options.program.ends_with(".cpp")) {
    if (!options.source_only)
      refuse(fmt::format("-o {} names a source, and a program is asked for", options.program),
             "leave out .cpp, or add --source-only");
    options.program.resize(options.program.size() - 4);
  }
  if (options.program.empty() || options.program.ends_with('/'))
    refuse(fmt::format("-o '{}' names no file", options.program), "give the path of a program");
  options.program = as_path(options.program);
  return std::nullopt;
}

int run(int argc, char** argv) {
  Options options;
  if (const auto code = parse(argc, argv, options)) return *code;
  const auto config = mp::read_mixtral_config(options.config);
  const std::string source = options.program + ".cpp";
  const std::string text = sealed(mp::mixtral_program_source(config, options.choices, options.config));
  std::error_code problem;
  if (std::filesystem::equivalent(options.program, options.config, problem))
    refuse(fmt::format("-o {} is the config.json itself", options.program), "give -o another name");
  if (std::filesystem::is_directory(options.program, problem))
    refuse(fmt::format("-o {} is a folder", options.program), "give the path of a program");
  if (may_write(options, source)) write_source(source, text);
  if (options.source_only) {
    fmt::print("{}\n", source);
    return 0;
  }
  return compile(options, source);
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
