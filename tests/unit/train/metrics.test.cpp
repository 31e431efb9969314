// SPDX-License-Identifier: Apache-2.0
#include <moepar/train/metrics.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <limits>
#include <new>
#include <string>
#include <string_view>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/data/text_file.hpp>
#include <moepar/train/metrics_log.hpp>

namespace {

using moepar::Index;
using moepar::MetricsFile;
using moepar::MetricsMode;
using moepar::StepReport;

const std::vector<std::int64_t> counts{1, 0, 7, 9223372036854775807};

StepReport step(Index number) {
  StepReport report{.step = number,
                    .total_steps = 10,
                    .loss = 2.75,
                    .cross_entropy = 2.5,
                    .gradient_norm = 1.0 / 3,
                    .learning_rate = 1e-4};
  report.tokens_per_expert = counts;
  report.layers = report.experts = 2;
  return report;
}

struct Folder {
  std::filesystem::path path = std::filesystem::temp_directory_path() / "moepar_metrics_test";
  Folder() { std::filesystem::remove_all(path), std::filesystem::create_directories(path); }
  ~Folder() { std::filesystem::remove_all(path); }
  [[nodiscard]] std::string file(const char* name) const { return (path / name).string(); }
};

std::string refusal(const std::string& path, MetricsMode mode) {
  try {
    MetricsFile{path, mode};
  } catch (const moepar::Error& error) {
    CHECK(std::string_view{error.what()}.find("Fix: ") != std::string_view::npos);
    return error.what();
  }
  return {};
}

TEST_CASE("a step is one line with a fixed schema") {
  const Folder folder;
  const std::string path = folder.file("metrics.jsonl");
  MetricsFile file{path};
  file.write(step(3));
  CHECK(
      moepar::read_text(path) ==
      R"({"version":1,"kind":"step","step":3,"total_steps":10,"finite":true,"loss":2.75,"ce":2.5,"evaluation_loss":null,)"
      R"("aux_loss":null,"z_loss":null,"grad_norm":0.3333333333333333,"lr":1e-04,"milliseconds":null,)"
      R"("tokens_per_second":null,"tokens_per_second_per_rank":null,"percent_of_peak":null,)"
      R"("load_max_over_mean":null,"dead_experts":0,"dropped_tokens":0,"seconds_left":null,"layers":2,"experts":2,)"
      R"("tokens_per_expert":[[1,0],[7,9223372036854775807]]})"
      "\n");
  StepReport bad = step(4);
  bad.loss = -std::numeric_limits<double>::infinity();
  bad.tokens_per_expert = {};
  file.write(bad);
  const std::string text = moepar::read_text(path);
  CHECK(text.find(R"("finite":false,"loss":null)") != std::string::npos);
  CHECK(text.find(R"("tokens_per_expert":[]})") != std::string::npos);
  bad.tokens_per_expert = std::span{counts}.first(3);
  CHECK_THROWS_AS(file.write(bad), moepar::Error);
  CHECK(moepar::read_metrics(path).steps() == 2);
}

TEST_CASE("any text comes back through the file, bytes that are not UTF-8 as U+FFFD") {
  const Folder folder;
  const std::string path = folder.file("metrics.jsonl");
  const std::string hard = std::string{"\"\\/\b\f\n\r\t\x01\x7f<é漢🦙>"} + '\0' + "end";
  {
    MetricsFile file{path};
    file.write(moepar::RunFacts{.model = hard,
                                .layout = "\xff\xc0\xaf\xed\xa0\x80\xf4\x90\x80\x80\xf5\x80\x80\x80\xe6\xbc",
                                .seed = 18446744073709551615u,
                                .unigram_entropy = 0.1});
    file.write(step(1));
  }
  const moepar::MetricsLog log = moepar::read_metrics(path);
  CHECK(log.bad_lines == 0);
  CHECK(log.run.at("model").characters == hard);
  std::string replaced;
  for (int i = 0; i < 16; ++i) replaced += "\xef\xbf\xbd";
  CHECK(log.run.at("layout").characters == replaced);
  CHECK(log.run.at("seed").characters == "18446744073709551615");
  CHECK(log.run.at("unigram_entropy").real == 0.1);
  CHECK(log.column("grad_norm")[0] == 1.0 / 3);
}

TEST_CASE("files are opened as asked, or refused with the reason") {
  const Folder folder;
  const std::string path = folder.file("metrics.jsonl");
  MetricsFile{path}.write(step(1));
  CHECK(refusal(path, MetricsMode::create).find("File exists") != std::string::npos);
  CHECK(refusal(folder.file("absent/x"), MetricsMode::replace).find("No such file") != std::string::npos);
  CHECK(refusal(folder.file(""), MetricsMode::append).find("Is a directory") != std::string::npos);
  MetricsFile{path, MetricsMode::append}.write(step(2));
  CHECK(moepar::read_metrics(path).steps() == 2);
  MetricsFile{path, MetricsMode::replace}.write(step(1));
  CHECK(moepar::read_metrics(path).steps() == 1);
  MetricsFile{folder.file("new"), MetricsMode::append}.write(step(1));
  CHECK(moepar::read_metrics(folder.file("new")).steps() == 1);
}

TEST_CASE("a file that cannot grow is an error, not a gap") {
  if (!std::filesystem::exists("/dev/full")) return;
  MetricsFile file{"/dev/full", MetricsMode::replace};
  CHECK_THROWS_AS(file.write(step(1)), moepar::Error);
}

TEST_CASE("a resumed run goes on behind a torn line, and its steps replace the repeated ones") {
  const Folder folder;
  const std::string path = folder.file("metrics.jsonl");
  {
    MetricsFile file{path};
    for (Index number = 1; number <= 5; ++number) file.write(step(number));
  }
  const std::string whole = moepar::read_text(path);
  for (std::size_t cut = 0; cut <= whole.size() / 5; cut += 7) {
    std::ofstream{path, std::ios::binary | std::ios::trunc} << whole.substr(0, whole.size() - cut);
    {
      MetricsFile file{path, MetricsMode::append};
      StepReport report = step(3);
      report.cross_entropy = 9;
      file.write(report);
    }
    const moepar::MetricsLog log = moepar::read_metrics(path);
    CHECK(log.bad_lines == 0);
    CHECK(log.torn.line == 0);
    CHECK(log.column("step") == std::vector<double>{1, 2, 3});
    CHECK(log.column("ce").back() == 9);
  }
}

TEST_CASE("a torn line longer than the next one leaves nothing behind it") {
  const Folder folder;
  const std::string path = folder.file("metrics.jsonl");
  MetricsFile{path}.write(step(1));
  std::ofstream{path, std::ios::binary | std::ios::app} << "{\"version\":1,\"x\":\"" << std::string(5000, 'x');
  MetricsFile{path, MetricsMode::append}.write(step(2));
  const moepar::MetricsLog log = moepar::read_metrics(path);
  CHECK(log.column("step") == std::vector<double>{1, 2});
  CHECK(log.bad_lines + log.torn.line == 0);
}

TEST_CASE("the reader refuses what is no metrics line") {
  using moepar::read_json_line;
  const auto refused = [](const std::string& line, std::string_view reason) {
    try {
      (void)read_json_line(line);
    } catch (const moepar::Error& error) {
      INFO(line.substr(0, 60));
      CHECK(std::string_view{error.what()} == reason);
      return;
    }
    FAIL(line.substr(0, 60));
  };
  CHECK(read_json_line("  { } ").empty());
  CHECK(read_json_line(R"({"a":-1.5e+3,"b":[[1,2],[3,4]],"c":true,"d":"\u00e9\ud83e\udd99"})").at("a").real == -1500);
  CHECK(read_json_line(R"({"d":"\u00e9\ud83e\udd99\ud800x"})").at("d").characters == "é🦙\xef\xbf\xbdx");
  refused("", "it ends too early");
  refused("{", "it ends too early");
  refused(R"({"a)", "it ends too early");
  refused(R"({"a":)", "it ends too early");
  refused(R"({"a":1)", "it ends too early");
  refused(R"({"a":1} x)", "something follows the object");
  refused(R"({"a":1,"a":2})", "a field stands twice");
  refused("[1]", "it is no JSON: expected '{'");
  refused(R"({"a":1,})", "it is no JSON: expected '\"'");
  refused(R"({"a":NaN})", "it is no JSON: expected a value");
  refused(R"({"a":+1})", "it is no JSON: expected a value");
  refused(R"({"a":.5})", "it is no JSON: expected a value");
  refused(R"({"a":1.})", "it is no JSON: expected a value");
  refused(R"({"a":01})", "it is no JSON: expected '}'");
  refused(R"({"a":1e400})", "the number 1e400 is out of range");
  refused(R"({"a":{}})", "it holds an object, which metrics do not");
  refused(R"({"a":[1,[2]]})", "an array holds something else than numbers, or numbers and arrays");
  refused(R"({"a":["x"]})", "an array holds something else than numbers, or numbers and arrays");
  refused(R"({"a":[[1,2],[3]]})", "rows of an array differ");
  refused(R"({"a":[[[1]]]})", "its arrays are nested more than 2 deep");
  refused(R"({"a":)" + std::string(1000000, '['), "its arrays are nested more than 2 deep");
  refused("{\"a\":\"\xff\"}", "a text is not UTF-8");
  refused(std::string{"{\"a\":\""} + '\0' + "\"}", "a text holds a control character");
  refused(R"({"a":"\x"})", "a text holds an unknown escape");
  refused(R"({"a":"\u12g4"})", "a text holds a broken \\u escape");
  refused(R"({"a":")" + std::string(5000, 'x') + "\"}", "a text is longer than 4096 bytes");
  refused(std::string((4 << 20) + 1, ' '), "it is longer than 4 MiB");
}

}  // namespace
