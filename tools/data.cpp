// SPDX-License-Identifier: Apache-2.0
// Text to blocks of tokens: rows of a file, tokenised, joined by the rule of Hugging Face's group_texts and cut,
// written as JSON lines or as a token file. Memory does not grow with the file.
#include <fmt/format.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <filesystem>
#include <moepar/data/byte_tokenizer.hpp>
#include <moepar/data/group_texts.hpp>
#include <moepar/data/jsonl_text.hpp>
#include <moepar/data/jsonl_writer.hpp>
#include <moepar/data/split.hpp>
#include <moepar/data/text_rows.hpp>
#include <moepar/data/token_file_writer.hpp>
#include <moepar/train/terminal.hpp>
#include <nlohmann/json.hpp>
#include <string>
#include <string_view>
#include <system_error>
#ifdef MOEPAR_HAVE_SENTENCEPIECE
#include <moepar/data/sentencepiece_tokenizer.hpp>
#endif

namespace mp = moepar;
using mp::Index;
using namespace mp::literals;

namespace {

#ifdef MOEPAR_HAVE_SENTENCEPIECE
constexpr std::string_view tokenizers =
    "bytes (256 tokens, none of them special), or the path of a SentencePiece tokenizer.model";
#else
constexpr std::string_view tokenizers =
    "bytes (256 tokens, none of them special); this program was built without sentencepiece, so no tokenizer.model";
#endif

struct Options {
  std::string input, output;
  std::string format = "text";
  std::string field;
  std::string tokenizer = "bytes";
  std::string split = "train";
  mp::GroupSettings group;
  bool json = false;
};

struct Summary {
  mp::RowRange range;
  Index rows_of_file = 0;
  Index rows = 0, ids = 0, blocks = 0, dropped = 0;
  Index vocabulary = 0;
};

// A bar on standard error, where that is a terminal; at most ten times a second.
class Progress {
 public:
  Progress(std::string_view name, Index total) : name_{name}, total_{total} {}
  Progress(const Progress&) = delete;
  Progress& operator=(const Progress&) = delete;
  ~Progress() {
    if (shown_) fmt::print(stderr, "\r\033[K");
  }

  void at(Index bytes, Index rows) {
    if (columns_ < 40 || (++calls_ & 63) != 0) return;
    const auto now = std::chrono::steady_clock::now();
    if (now < next_) return;
    next_ = now + std::chrono::milliseconds{100};
    const Index percent = total_ > 0 ? std::min<Index>(100, bytes * 100 / total_) : 100;
    const std::string bar(static_cast<std::size_t>(percent / 5), '#');
    fmt::print(stderr, "\r{:8} [{:20}] {:3} %  {} rows", name_, bar, percent, rows);
    std::fflush(stderr);
    shown_ = true;
  }

 private:
  std::string_view name_;
  Index total_;
  int columns_ = mp::terminal_of(stderr).columns;
  unsigned calls_ = 0;
  bool shown_ = false;
  std::chrono::steady_clock::time_point next_{};
};

[[noreturn]] void refuse(const std::string& problem, const std::string& fix) {
  throw mp::Error{fmt::format("moepar data: {}. Fix: {}.", problem, fix)};
}

// Bytes of a row or line. SentencePiece takes 100 times as much while it encodes one.
Index longest_row(const Options& options) { return options.tokenizer == "bytes" ? 64_MiB : 8_MiB; }

// Calls body(rows) with the rows of the input, from its start.
template <class Body> void with_rows(const Options& options, const Body& body) {
  if (options.format == "jsonl") {
    mp::JsonlText rows{options.input, options.field.empty() ? "text" : options.field, longest_row(options)};
    return body(rows);
  }
  const auto format = options.format == "tsv"    ? mp::TextFormat::tsv
                      : options.format == "text" ? mp::TextFormat::lines
                                                 : mp::TextFormat::whole;
  mp::TextRows rows{options.input,
                    {.format = format,
                     .column = options.field.empty() ? "sentence" : options.field,
                     .longest = longest_row(options)}};
  body(rows);
}

Index count_rows(const Options& options, Index bytes) {
  Progress progress{"counting", bytes};
  Index count = 0;
  with_rows(options, [&](auto& rows) {
    while (rows.next()) progress.at(rows.bytes(), rows.rows());
    count = rows.rows();
  });
  return count;
}

template <class Tokenizer, class Writer>
Summary write_blocks(const Options& options, const Tokenizer& tokenizer, Writer& writer) {
  const mp::Split split{options.split};
  const auto bytes = static_cast<Index>(std::filesystem::file_size(options.input));
  Summary summary;
  summary.vocabulary = tokenizer.vocabulary();
  if (!split.everything()) {
    summary.rows_of_file = count_rows(options, bytes);
    summary.range = split.of(summary.rows_of_file);
  }
  mp::GroupTexts group{options.group};
  Progress progress{"encoding", bytes};
  with_rows(options, [&](auto& rows) {
    while (const auto text = rows.next()) {
      const Index row = rows.rows() - 1;
      progress.at(rows.bytes(), rows.rows());
      if (!split.everything() && row >= summary.range.last) break;
      if (!split.everything() && row < summary.range.first) continue;
      group.add(tokenizer.encode(*text), [&](auto block) { writer.write(block); });
    }
    if (split.everything()) summary.range.last = summary.rows_of_file = rows.rows();
  });
  group.finish();
  if (group.rows() != summary.range.size())
    refuse(fmt::format("'{}' had {} rows of {} and then {}", options.input, summary.range.size(), options.split,
                       group.rows()),
           "leave the file alone while it is read");
  summary.rows = group.rows(), summary.ids = group.ids();
  summary.blocks = group.blocks(), summary.dropped = group.dropped();
  if (summary.blocks == 0)
    refuse(fmt::format("{} of '{}' has {} rows and {} tokens, too few for a block of {}", options.split, options.input,
                       summary.rows, summary.ids, options.group.block),
           options.group.batch == 0 ? "give more text or a smaller --block"
                                    : "give more text, a smaller --block, or --batch 0");
  writer.finish();
  return summary;
}

template <class Tokenizer> Summary write_file(const Options& options, const Tokenizer& tokenizer) {
  if (options.output.ends_with(".jsonl")) {
    mp::JsonlWriter writer{options.output};
    return write_blocks(options, tokenizer, writer);
  }
  mp::TokenFileWriter writer{options.output, options.group.block, tokenizer.vocabulary()};
  return write_blocks(options, tokenizer, writer);
}

Summary convert(const Options& options) {
  if (options.tokenizer == "bytes") return write_file(options, mp::ByteTokenizer{});
#ifdef MOEPAR_HAVE_SENTENCEPIECE
  return write_file(options, mp::SentencePieceTokenizer{options.tokenizer});
#else
  refuse(fmt::format("--tokenizer {}: this program was built without sentencepiece", options.tokenizer),
         "install libsentencepiece-dev and build again, or choose bytes");
#endif
}

void print(const Options& options, const Summary& summary) {
  if (options.json) {
    nlohmann::ordered_json out;
    out["input"] = options.input;
    out["output"] = options.output;
    out["split"] = options.split;
    out["vocabulary"] = summary.vocabulary;
    out["block"] = options.group.block;
    out["batch"] = options.group.batch;
    out["rows_of_file"] = summary.rows_of_file;
    out["first_row"] = summary.range.first;
    out["rows"] = summary.rows;
    out["ids"] = summary.ids;
    out["blocks"] = summary.blocks;
    out["dropped"] = summary.dropped;
    // A path need not be UTF-8.
    fmt::print("{}\n", out.dump(2, ' ', false, nlohmann::json::error_handler_t::replace));
    return;
  }
  fmt::print(
      "{}: {} blocks of {} tokens from {} rows ({}..{} of {}) and {} tokens of a vocabulary of {}; {} tokens "
      "dropped at the ends of {}\n",
      options.output, summary.blocks, options.group.block, summary.rows, summary.range.first, summary.range.last - 1,
      summary.rows_of_file, summary.ids, summary.vocabulary, summary.dropped,
      options.group.batch == 0 ? std::string{"the rows"} : fmt::format("batches of {} rows", options.group.batch));
}

void check(Options& options) {
  if (options.format != "text" && options.format != "whole" && options.format != "tsv" && options.format != "jsonl")
    refuse(fmt::format("--format {}: not known", options.format), "choose text, whole, tsv or jsonl");
  if (!options.field.empty() && (options.format == "text" || options.format == "whole"))
    refuse(fmt::format("--field {} with --format {}, which has no fields", options.field, options.format),
           "leave it out, or choose tsv or jsonl");
  if (!options.output.ends_with(".jsonl") && !options.output.ends_with(".tokens"))
    refuse(fmt::format("--out {}: what it should be is not known", options.output),
           "let the name end in .jsonl or .tokens");
  std::error_code error;
  if (!std::filesystem::is_regular_file(options.input, error))
    refuse(fmt::format("--input {} is no file", options.input), "give the path of a text");
  if (std::filesystem::equivalent(options.input, options.output, error))
    refuse(fmt::format("--out {} is the input", options.output), "give another path");
  static_cast<void>(mp::Split{options.split});
  static_cast<void>(mp::GroupTexts{options.group});
}

int run(int argc, char** argv) {
  Options options;
  CLI::App app{
      "Text to blocks of tokens, as Hugging Face's run_clm.py makes them: the rows of a file are tokenised, those of "
      "one "
      "batch are joined and cut into blocks, and what is left of the batch is dropped."};
  app.name("./dev data");
  app.set_help_flag("-h,--help", "This text");
  app.add_option("--input", options.input, "The text")->required();
  app.add_option("--out", options.output, "NAME.jsonl (input_ids, attention_mask, labels) or NAME.tokens (binary)")
      ->required();
  app.add_option("--format", options.format,
                 "text (a line is a row; default), whole (the file is one row), tsv (a header names the columns) or "
                 "jsonl (a JSON object a line). A row has at most 64 MiB, with a tokenizer.model 8 MiB");
  app.add_option("--field", options.field,
                 "The column or field with the text (default: sentence in tsv, text in jsonl)");
  app.add_option("--tokenizer", options.tokenizer, fmt::format("{}. Default bytes", tokenizers));
  app.add_option("--block", options.group.block, "Tokens of a block (default 2048)");
  app.add_option("--batch", options.group.batch, "Rows that are joined (default 1000, as there); 0: all of them");
  app.add_option("--split", options.split,
                 "Part of the rows: train[:10%], train[10%:], [100:200], [-5%:] (default: all); any name will do");
  app.add_flag("--json", options.json, "The summary as JSON");
  try {
    app.parse(argc, argv);
  } catch (const CLI::CallForHelp& help) {
    return app.exit(help);
  } catch (const CLI::ParseError& error) {
    throw mp::Error{fmt::format("moepar data: {}. Fix: --help lists the options.", error.what())};
  }
  check(options);
  print(options, convert(options));
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
#ifdef SIGXFSZ
  std::signal(SIGXFSZ, SIG_IGN);  // a limit on file sizes is then an error of the write, and is reported
#endif
  try {
    return run(argc, argv);
  } catch (const std::exception& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 2;
  }
}
