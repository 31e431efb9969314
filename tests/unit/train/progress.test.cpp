// SPDX-License-Identifier: Apache-2.0
#include <doctest/doctest.h>

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/train/load_report.hpp>
#include <moepar/train/progress_line.hpp>
#include <moepar/train/step_report.hpp>
#include <moepar/train/terminal.hpp>
#include <moepar/train/text_table.hpp>

namespace {

using moepar::Index;
using moepar::ProgressLine;
using moepar::StepReport;
using namespace moepar::literals;

const StepReport typical{.step = 120,
                         .total_steps = 2000,
                         .loss = 2.5,
                         .cross_entropy = 2.34567,
                         .evaluation_loss = 2.5,
                         .gradient_norm = 0.98765,
                         .learning_rate = 2.5e-4,
                         .milliseconds = 21.26,
                         .tokens_per_second = 184321,
                         .tokens_per_second_per_rank = 46080,
                         .percent_of_peak = 41.27,
                         .load_max_over_mean = 1.305,
                         .dead_experts = 2,
                         .dropped_tokens = 12345,
                         .seconds_left = 3725,
                         .layers = 4,
                         .experts = 8};

TEST_CASE("a line of progress stands under its header") {
  ProgressLine progress;
  CHECK(progress.header() ==
        "         step    loss    eval    norm       lr      ms   tok/s tok/s/r   %peak max/mean  dead dropped     "
        "ETA\n");
  CHECK(progress.line(typical) ==
        "     120/2000  2.3457  2.5000   0.988 2.50e-04    21.3    184k   46.1k    41.3     1.30     2   12.3k   "
        "1h02m\n");
  CHECK(progress.line(StepReport{}) ==
        "          0/0     nan       -     nan        -       -       -       -       -        -     -       -       "
        "-\n");
}

TEST_CASE("whatever the numbers are, columns stay apart and in line") {
  constexpr double infinity = std::numeric_limits<double>::infinity();
  ProgressLine progress;
  const std::size_t width = progress.header().size();
  CHECK(width == 110);  // with its line feed
  for (const double value : {0.0, -0.0, 1e-300, 1e-9, 5e-5, 0.99999, 9.99996, 99999.5, 999999.5, 1e7, 1e22, 1.7e308,
                             -1e-300, -12345678.9, -1.7e308, infinity, -infinity})
    for (const Index count : {Index{0}, Index{999}, Index{1000}, Index{999999}, std::numeric_limits<Index>::max()}) {
      const StepReport report{count, count, value, value, value, value, value, value, value, value,
                              value, value, value, value, count, count, value, {},    1,     1};
      const std::string_view line = progress.line(report);
      INFO(line);
      CHECK(line.size() == width);
      std::size_t start = 0;
      for (const auto& column : moepar::detail::progress_columns) {
        CHECK(line[start] == ' ');
        CHECK(line[start + static_cast<std::size_t>(column.width) - 1] != ' ');
        start += static_cast<std::size_t>(column.width);
      }
    }
}

TEST_CASE("a narrow terminal loses the columns that matter least, and no line is wider than it") {
  for (int columns = 13; columns <= 120; ++columns) {
    ProgressLine progress{{.terminal = {.colour = false, .columns = columns}}};
    const std::size_t width = progress.header().size() - 1;
    CHECK(width <= static_cast<std::size_t>(columns));
    CHECK(progress.line(typical).size() - 1 == width);
  }
  ProgressLine eighty{{.terminal = {.colour = false, .columns = 80}}};
  CHECK(eighty.header() == "         step    loss    eval    norm      ms   tok/s max/mean  dead     ETA\n");
}

TEST_CASE("colour says what to look at and changes nothing else") {
  ProgressLine plain, painted{{.terminal = {.colour = true}, .reference_loss = 2.4}};
  const std::string line{painted.line(typical)};
  CHECK(line.find("\033[32m2.3457\033[0m") != std::string::npos);
  CHECK(line.find(" 2.5000 ") != std::string::npos);
  CHECK(line.find("\033[33m2\033[0m") != std::string::npos);
  CHECK(std::string{painted.line(StepReport{})}.find("\033[1;31mnan\033[0m") != std::string::npos);
  std::string bare;
  for (std::size_t i = 0; i < line.size(); ++i)
    if (line[i] == '\033')
      i = line.find('m', i);
    else
      bare += line[i];
  CHECK(bare == plain.line(typical));
}

TEST_CASE("the header comes back every so many lines") {
  std::FILE* const file = std::tmpfile();
  ProgressLine progress{{.header_every = 3}};
  for (int step = 0; step < 7; ++step) progress.print(typical, file);
  std::rewind(file);
  int lines = 0, headers = 0;
  char line[256];
  while (std::fgets(line, sizeof line, file) != nullptr) ++lines, headers += std::string_view{line}.find("loss") < 100;
  CHECK(lines == 10);
  CHECK(headers == 3);
  CHECK(!moepar::terminal_of(file).colour);
  CHECK(moepar::terminal_of(file).columns == 0);
  std::fclose(file);
}

TEST_CASE("bytes, counts and times for people") {
  using moepar::detail::ShortNumber;
  CHECK(ShortNumber::compact(999.4, "-").text() == "999");
  CHECK(ShortNumber::compact(999.6, "-").text() == "1.00k");
  CHECK(ShortNumber::compact(9996, "-").text() == "10.0k");
  CHECK(ShortNumber::compact(99960, "-").text() == "100k");
  CHECK(moepar::human_bytes(0) == "0 B");
  CHECK(moepar::human_bytes(1023) == "1023 B");
  CHECK(moepar::human_bytes(640_KiB) == "640 KiB");
  CHECK(moepar::human_bytes(3_GiB / 2) == "1.5 GiB");
  CHECK(moepar::human_bytes(1_MiB - 1) == "1 MiB");
  CHECK(moepar::human_bytes(std::numeric_limits<Index>::max()) == "8 EiB");
  CHECK(moepar::human_count(512) == "512");
  CHECK(moepar::human_count(14'300'000) == "14.3 M");
  CHECK(moepar::human_count(999'999) == "1 M");
  CHECK(moepar::human_count(46'702'792'704) == "46.7 B");
  CHECK(moepar::human_duration(11.6) == "12s");
  CHECK(moepar::human_duration(59.6) == "1m00s");
  CHECK(moepar::human_duration(200) == "3m20s");
  CHECK(moepar::human_duration(3725) == "1h02m");
  CHECK(moepar::human_duration(183600) == "2d03h");
  CHECK(moepar::human_duration(-1) == "-");
  CHECK(moepar::human_duration(moepar::not_measured) == "-");
}

TEST_CASE("a plan is a table with its sum") {
  const moepar::PlanRow rows[] = {{"parameters", 1_MiB, "f32"}, {"activations", 512_KiB}};
  CHECK(moepar::plan_table("A rank keeps", rows) ==
        "A rank keeps\n  parameters       1 MiB  f32\n  activations    512 KiB\n  total          1.5 MiB\n");
}

TEST_CASE("load is reported for the worst layer") {
  const std::vector<std::int64_t> tokens{4, 4, 4, 4, 0, 10, 6, 0, 0, 0, 0, 0};
  const moepar::LoadReport load = moepar::load_report(tokens, 3, 4);
  CHECK(load.max_over_mean == 2.5);
  CHECK(load.worst_layer == 1);
  CHECK(load.dead_experts == 6);
  CHECK(moepar::load_report(std::vector<std::int64_t>{5, 5}, 1, 2).max_over_mean == 1.0);
  const double none = moepar::load_report(std::vector<std::int64_t>{0, 0}, 1, 2).max_over_mean;
  CHECK(none != none);
  CHECK_THROWS_AS((void)moepar::load_report(tokens, 2, 4), moepar::Error);
  CHECK_THROWS_AS((void)moepar::load_report(std::vector<std::int64_t>{1, -1}, 1, 2), moepar::Error);
  CHECK_THROWS_AS((void)moepar::load_report({}, 0, 0), moepar::Error);
}

}  // namespace
