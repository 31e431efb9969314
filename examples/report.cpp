// SPDX-License-Identifier: Apache-2.0
// From the metrics of a run (moepar::MetricsFile) to one HTML file that needs nothing else: no script, no network.
// The same metrics give the same bytes. Lines that are not metrics are named and nothing is written (exit code 2); only
// a last line without an end, which a killed run leaves, is left out with a warning.
//
//   g++ -std=c++20 -O2 -I include examples/report.cpp && ./a.out metrics.jsonl report.html
#include <algorithm>
#include <array>
#include <cmath>
#include <cstdio>
#include <filesystem>
#include <limits>
#include <moepar/train/metrics_log.hpp>
#include <moepar/train/text_table.hpp>
#include <numeric>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

namespace mp = moepar;
using mp::detail::fixed;
using std::string, std::string_view, std::vector;
using Numbers = vector<double>;

constexpr double nothing = mp::not_measured;
constexpr double infinity = std::numeric_limits<double>::infinity();

string escaped(string_view text) {
  constexpr string_view special = "&<>\"'", names[] = {"&amp;", "&lt;", "&gt;", "&quot;", "&#39;"};
  string result;
  for (const char c : text) {
    const auto code = static_cast<unsigned char>(c);
    if (const std::size_t which = special.find(c); which != string_view::npos)
      result += names[which];
    else
      result += code < 0x20 || code == 0x7f ? ' ' : c;
  }
  return result;
}

// A number for people: four digits that matter, an exponent where it is very large or small.
string shown(double value) {
  if (std::isnan(value)) return "–";
  const double size = std::fabs(value);
  if (size < 1e-300) return "0";  // what follows has no power of ten for less
  if (size >= 1e6 && size < 1e15) return mp::human_count(static_cast<mp::Index>(value));
  if (size >= 1e15 || size < 1e-3) {
    const int power = static_cast<int>(std::floor(std::log10(size) + 1e-9));
    return shown(value / std::pow(10, power)) + "e" + std::to_string(power);
  }
  string text = fixed(value, size >= 1000 ? 0 : size >= 100 ? 1 : size >= 10 ? 2 : size >= 1 ? 3 : 4);
  if (text.find('.') == string::npos) return text;
  text.erase(text.find_last_not_of('0') + 1);
  if (text.back() == '.') text.pop_back();
  return text;
}

// A coordinate, and the two elements that drawings are made of.
string at(double coordinate) { return fixed(coordinate, 1); }
string path(string_view style, const string& shape) {
  return "<path class=\"" + string{style} + "\" d=\"" + shape + "\"/>";
}
string label(double x, double y, string_view anchor, const string& text) {
  return "<text class=\"tick\" x=\"" + at(x) + "\" y=\"" + at(y) + "\" text-anchor=\"" + string{anchor} + "\">" + text +
         "</text>\n";
}

// The ticks of an axis from `low` to `high`: multiples of 1, 2 or 5 times a power of ten, about `count` of them.
Numbers ticks(double low, double high, int count, bool whole) {
  const double least = (high - low) / count, power = std::pow(10, std::floor(std::log10(least)));
  double step = power * (least <= power ? 1 : least <= 2 * power ? 2 : least <= 5 * power ? 5 : 10);
  if (whole) step = std::max(1.0, step);
  Numbers result;
  const double start = std::ceil(low / step - 1e-9);
  for (int i = 0; i <= 2 * count && start + i <= high / step + 1e-9; ++i)
    result.push_back(start + i == 0 ? 0 : (start + i) * step);
  return result;
}

// The axis of steps under a drawing.
struct StepAxis {
  double first, last, left, right;
  StepAxis(const Numbers& steps, double from, double to)
      : first{steps.front()}, last{std::max(steps.back(), first + 1)}, left{from}, right{to} {}
  [[nodiscard]] double place(double step) const { return left + (step - first) / (last - first) * (right - left); }
  [[nodiscard]] string drawn(double y) const {
    string svg = label(right, y + 32, "end", "step");
    for (const double tick : ticks(first, last, right > 600 ? 10 : 5, true))
      svg += label(place(tick), y + 18, "middle", shown(tick));
    return svg;
  }
};

struct Series {
  string_view name, style;
  const Numbers* values;
};

// Means over at most 500 stretches of the steps, and the least and the largest number of each.
struct Curve {
  Numbers step{}, mean{}, low{}, high{};
};

Curve curve(const Numbers& steps, const Numbers& values) {
  Curve result;
  const std::size_t size = values.size(), count = std::min<std::size_t>(size, 500);
  for (std::size_t bin = 0; bin < count; ++bin) {
    double sum = 0, where = 0, low = infinity, high = -infinity, number = 0;
    for (std::size_t i = bin * size / count; i < (bin + 1) * size / count; ++i) {
      if (!(std::fabs(values[i]) < 1e30)) continue;  // not measured, or nothing that can be drawn
      sum += values[i], where += steps[i], ++number;
      low = std::min(low, values[i]), high = std::max(high, values[i]);
    }
    if (number == 0) continue;
    result.step.push_back(where / number), result.mean.push_back(sum / number);
    result.low.push_back(low), result.high.push_back(high);
  }
  return result;
}

// The least and the largest number of the axis for `values`, which are not empty.
std::pair<double, double> range(Numbers values, bool from_zero) {
  auto [low, high] = std::ranges::minmax(values);
  if (from_zero) {
    const auto median = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, median);
    low = std::min(low, 0.0);
    if (*median > 0) high = std::min(high, 5 * *median);  // a slow first step must not flatten the rest
  }
  if (!(high - low > 1e-30 && high - low > 1e-9 * std::max(std::fabs(low), std::fabs(high))))
    high = low + std::max(1.0, std::fabs(low));
  const double margin = 0.06 * (high - low);
  return {from_zero ? low : low - margin, high + margin};
}

// One diagram; empty when no series has a number. `reference` is a dashed line.
string chart(const Numbers& steps, string_view title, string_view unit, double width, bool from_zero,
             const vector<Series>& all, double reference = nothing, string_view reference_name = "") {
  vector<Curve> curves;
  Numbers values;
  for (const Series& series : all) {
    curves.push_back(curve(steps, *series.values));
    values.insert(values.end(), curves.back().mean.begin(), curves.back().mean.end());
  }
  if (values.empty()) return "";
  const bool referred = std::fabs(reference) < 1e30;
  if (referred) values.push_back(reference);
  const auto [low, high] = range(values, from_zero);

  const double height = width > 600 ? 300 : 220, left = 58, right = width - 20, top = 46, bottom = height - 34;
  const StepAxis axis{steps, left, right};
  const auto y = [&, low = low, high = high](double value) {
    return std::clamp(bottom - (value - low) / (high - low) * (bottom - top), top - 6, bottom);
  };
  const auto across = [&](double value) { return "M" + at(left) + " " + at(y(value)) + "H" + at(right); };
  string svg = "<svg class=\"" + string{width > 600 ? "large" : "small"} + "\" viewBox=\"0 0 " + fixed(width, 0) + " " +
               fixed(height, 0) + "\" role=\"img\" aria-label=\"" + escaped(title) +
               "\"><text class=\"title\" y=\"15\">" + escaped(title) + "<tspan class=\"unit\" dx=\"8\">" +
               escaped(unit) + "</tspan></text>\n" + axis.drawn(bottom);
  for (const double tick : ticks(low, high, 5, false))
    svg += path("grid", across(tick)) + label(left - 8, y(tick) + 4, "end", shown(tick));

  double next = left;  // of the legend
  const auto name = [&](string_view text, const string& style) {
    svg += path("line " + style, "M" + at(next) + " 31h18") + label(next + 24, 35, "start", escaped(text));
    next += 44 + 6.6 * static_cast<double>(text.size());
  };
  for (std::size_t s = 0; s < all.size(); ++s) {
    const Curve& points = curves[s];
    string above, below, line, dots;
    for (std::size_t i = 0; i < points.step.size(); ++i) {
      const string x = at(axis.place(points.step[i])) + " ", letter = i == 0 ? "M" : "L";
      line += letter + x + at(y(points.mean[i]));
      above += letter + x + at(y(points.high[i]));
      below.insert(0, "L" + x + at(y(points.low[i])));
      if (points.step.size() <= 40) dots += "M" + x + at(y(points.mean[i])) + "h0";
    }
    const string style{all[s].style};
    if (line.empty()) continue;
    if (steps.size() > 500) svg += path("band " + style, above + below + "Z");
    svg += path("line " + style, line) + path("dots " + style, dots) + "\n";
    if (all.size() > 1) name(all[s].name, style);
  }
  if (referred) svg += path("line reference", across(reference)), name(reference_name, "reference");
  return svg + "</svg>\n";
}

constexpr int levels = 6;  // on either side of the mean, each a third of a factor of two; farther counts as the last
constexpr std::size_t dead = 2 * levels + 1, unknown = dead + 1;

// Experts are rows, `count` stretches of time are columns; equal neighbours are one stroke.
string layer_map(const mp::MetricsLog& log, std::size_t layer, std::size_t count) {
  vector<Numbers> tokens(count, Numbers(log.experts));
  for (std::size_t step = 0; step < log.steps(); ++step)
    for (std::size_t expert = 0; expert < log.experts && !log.tokens_per_expert[step].empty(); ++expert)
      tokens[step * count / log.steps()][expert] += double{log.tokens_per_expert[step][layer * log.experts + expert]};
  Numbers means;
  for (const Numbers& bin : tokens)
    means.push_back(std::accumulate(bin.begin(), bin.end(), 0.0) / static_cast<double>(log.experts));

  const auto level = [&](std::size_t bin, std::size_t expert) {
    if (!(means[bin] > 0)) return unknown;
    if (tokens[bin][expert] == 0) return dead;
    const double thirds = std::round(3 * std::log2(tokens[bin][expert] / means[bin]));
    return static_cast<std::size_t>(std::clamp<double>(thirds, -levels, levels) + levels);
  };
  std::array<string, unknown + 1> shapes;
  for (std::size_t expert = 0; expert < log.experts; ++expert)
    for (std::size_t bin = 0, end = 0; bin < count; bin = end) {
      const std::size_t which = level(bin, expert);
      for (end = bin + 1; end < count && level(end, expert) == which;) ++end;
      shapes[which] += "M" + std::to_string(bin) + " " + std::to_string(expert) + "h" + std::to_string(end - bin);
    }
  string svg;
  for (std::size_t i = 0; i < unknown; ++i)
    if (!shapes[i].empty()) svg += path("c" + std::to_string(i), shapes[i]);
  return svg;
}

string heat_maps(const mp::MetricsLog& log) {
  const auto layers = static_cast<double>(log.layers), experts = static_cast<double>(log.experts);
  const auto most = std::clamp<std::size_t>(60000 / (log.layers * log.experts), 24, 400);
  const std::size_t count = std::min(log.steps(), most);
  const double height = std::clamp(96 / experts, 1.0, 12.0) * experts, bottom = (height + 8) * layers - 8;
  const StepAxis axis{log.column("step"), 58, 980};
  string svg = "<svg class=\"large\" viewBox=\"0 0 1000 " + at(bottom + 40) +
               "\" role=\"img\" aria-label=\"Load of experts\">\n";
  for (std::size_t layer = 0; layer < log.layers; ++layer) {
    const double top = static_cast<double>(layer) * (height + 8);
    svg += label(50, top + height / 2 + 4, "end", "layer " + std::to_string(layer)) +
           "<svg class=\"heat\" x=\"58\" y=\"" + at(top) + "\" width=\"922\" height=\"" + at(height) +
           "\" viewBox=\"0 -0.5 " + std::to_string(count) + " " + std::to_string(log.experts) +
           "\" preserveAspectRatio=\"none\">" + layer_map(log, layer, count) + "</svg>\n";
  }
  return svg + axis.drawn(bottom) + "</svg>\n";
}

string legend() {
  string html = "<p class=\"legend\">¼ of the mean";
  for (std::size_t i = 0; i < dead; ++i) html += "<i class=\"c" + std::to_string(i) + "\"></i>";
  return html + "4 × the mean <i class=\"c" + std::to_string(dead) + "\"></i>no token</p>\n";
}

// The levels' colours: below the mean that of the first curve, above it that of the second, the fainter the nearer.
string palette() {
  string css;
  for (int i = 0; i <= 2 * levels; ++i) {
    const string colour = i < levels ? "var(--one)" : i > levels ? "var(--two)" : "var(--even)";
    const double strength = i == levels ? 1 : 0.95 * std::abs(i - levels) / levels;
    css += ".c" + std::to_string(i) + "{stroke:" + colour + ";background:" + colour + ";opacity:" + fixed(strength, 2) +
           "}";
  }
  return css + ".c" + std::to_string(dead) + "{stroke:var(--dead);background:var(--dead)}\n";
}

constexpr string_view sheet = R"(
:root{color-scheme:light dark;--page:#fbfbfa;--card:#fff;--text:#1d2430;--soft:#5d6776;--rule:#e3e5e9;--one:#1f5fa8;--two:#c2540a;--even:#f0f0ec;--dead:#c4007a}
@media(prefers-color-scheme:dark){:root{--page:#14171c;--card:#1c2027;--text:#e4e8ee;--soft:#98a2b1;--rule:#323843;--one:#6fb1f5;--two:#f2a05c;--even:#2a2f37;--dead:#ff4fb0}}
*{box-sizing:border-box}body{margin:0;background:var(--page);color:var(--text);font:15px/1.5 system-ui,"Segoe UI",Roboto,"DejaVu Sans",sans-serif}
main{max-width:1080px;margin:0 auto;padding:32px 20px 48px}h1{font-size:26px;line-height:1.2;margin:0}h2{font-size:17px;margin:0 0 4px}
p{margin:4px 0 14px;color:var(--soft)}section,.tile{background:var(--card);border:1px solid var(--rule);border-radius:10px}
section{padding:18px 20px;margin:16px 0}svg{display:block;width:100%;height:auto;}.heat{overflow:hidden}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:12px}.tile{padding:12px 16px;color:var(--soft);font-size:13px}
.tile b{display:block;font-size:23px;line-height:1.3;font-weight:600;color:var(--text);font-variant-numeric:tabular-nums}
svg+.pair{margin-top:22px}section{overflow-x:auto}.large{min-width:640px}
.pair{display:grid;grid-template-columns:repeat(auto-fit,minmax(min(430px,100%),1fr));gap:26px 32px}
dl{display:grid;grid-template-columns:repeat(auto-fill,minmax(150px,1fr));gap:10px 20px;margin:0;font-size:14px}dt{color:var(--soft);font-size:12.5px}
dd{margin:0;overflow-wrap:anywhere;font-variant-numeric:tabular-nums}.wide{grid-column:span 2}
.title{font-size:15px;font-weight:600;fill:var(--text)}.unit{font-weight:400;font-size:12.5px}.unit,.tick{fill:var(--soft)}.tick{font-size:12px;font-variant-numeric:tabular-nums}
.grid{stroke:var(--rule);fill:none}.line{fill:none;stroke:var(--one);stroke-width:2;stroke-linejoin:round}.dots{stroke:var(--one);stroke-width:6;stroke-linecap:round}
.band{fill:var(--one);opacity:.18}.line.two,.dots.two{stroke:var(--two)}.band.two{fill:var(--two)}.line.reference{stroke:var(--soft);stroke-width:1.5;stroke-dasharray:5 4}
.heat path{fill:none;stroke-width:1;shape-rendering:crispEdges}.legend{font-size:13px;margin:0 0 14px 58px}
.legend i{display:inline-block;width:20px;height:12px;vertical-align:-1px}.legend i:first-of-type,.legend i:last-of-type{margin-left:8px}.legend i:nth-last-of-type(2){margin-right:8px}.legend i:last-of-type{margin:0 8px 0 24px}
)";

string tile(const string& value, string_view name) {
  return "<div class=\"tile\"><b>" + value + "</b>" + string{name} + "</div>";
}

string section(string_view title, string_view note, const string& inside) {
  if (inside.empty()) return inside;
  return "<section><h2>" + string{title} + "</h2><p>" + string{note} + "</p>\n" + inside + "</section>\n";
}

string facts(const mp::MetricsLog& log) {
  constexpr string_view names[] = {
      "layout", "build",   "data",  "world",      "seed",   "precision", "parameters", "active_parameters",
      "layers", "experts", "top_k", "vocabulary", "length", "batch"};
  string html;
  for (const string_view key : names) {
    const auto found = log.run.find(key);
    if (found == log.run.end() || found->second.characters.empty()) continue;
    string name{key};
    std::ranges::replace(name, '_', ' ');
    html += "<div" + string{found->second.characters.size() > 20 ? " class=\"wide\"" : ""} + "><dt>" + name +
            "</dt><dd>" + escaped(found->second.characters) + "</dd></div>\n";
  }
  return html.empty() ? html : "<section><dl>\n" + html + "</dl></section>\n";
}

string page(const mp::MetricsLog& log) {
  const Numbers& steps = log.column("step");
  const auto last = [&](string_view name) { return shown(log.column(name).back()); };
  const Numbers& evaluated = log.column("evaluation_loss");
  const auto evaluation = std::find_if(evaluated.rbegin(), evaluated.rend(), [](double x) { return !std::isnan(x); });
  const auto small = [&](string_view title, string_view unit, string_view name, string_view style = "") {
    return chart(steps, title, unit, 490, true, {{title, style, &log.column(name)}});
  };
  const auto model = log.run.find("model"), entropy = log.run.find("unigram_entropy");
  const string name = model == log.run.end() ? "Training run" : escaped(model->second.characters);

  string html =
      "<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">\n<meta name=\"viewport\" "
      "content=\"width=device-width\"><title>" +
      name + "</title><style>";
  html += sheet;
  html += palette();
  html += "</style></head><body><main>\n<h1>" + name + "</h1><p>" + std::to_string(steps.size()) +
          " steps logged, the last is step " + fixed(steps.back(), 0) + "</p>\n<div class=\"tiles\">";
  html += tile(last("ce"), "training loss") +
          tile(shown(evaluation == evaluated.rend() ? nothing : *evaluation), "evaluation loss") +
          tile(last("milliseconds"), "ms a step") + tile(last("tokens_per_second"), "tokens a second");
  if (log.layers > 0)
    html += tile(last("load_max_over_mean"), "busiest expert / mean") + tile(last("dead_experts"), "idle experts");
  html += "</div>\n" + facts(log);
  html += section("Learning", "Below the dashed line a model knows more than how often each token occurs.",
                  chart(steps, "Loss", "nats a token", 1000, false,
                        {{"training", "", &log.column("ce")}, {"evaluation", "two", &evaluated}},
                        entropy == log.run.end() ? nothing : entropy->second.real, "unigram entropy"));
  html += section("Steps", "Axes start at zero and end at five times the median at most.",
                  "<div class=\"pair\">" + small("Gradient norm", "before clipping", "grad_norm") +
                      small("Learning rate", "", "lr") + small("Step time", "ms", "milliseconds") +
                      small("Speed", "tokens a second, all ranks", "tokens_per_second") + "</div>");
  if (log.layers > 0)
    html +=
        section("Experts", "Each row is an expert, time runs to the right. A layer in balance is faint throughout.",
                legend() + heat_maps(log) + "<div class=\"pair\">" +
                    small("Imbalance", "busiest expert / mean, worst layer", "load_max_over_mean") +
                    small("Idle experts", "without a token in a step, all layers", "dead_experts", "two") + "</div>");
  return html + "</main></body></html>\n";
}

// The whole file or none: a temporary one takes the name only once it is complete.
void write_file(const string& name, const string& text) {
  std::error_code ignored;
  if (std::filesystem::exists(name, ignored) && !std::filesystem::is_regular_file(name, ignored))
    throw mp::Error{"'" + name + "' is no file and is left as it is. Fix: name a file to write."};
  const string partial = name + ".partial";
  std::FILE* const file = std::fopen(partial.c_str(), "wb");
  bool good = file != nullptr && std::fwrite(text.data(), 1, text.size(), file) == text.size();
  good = file != nullptr && std::fclose(file) == 0 && good;
  if (good && std::rename(partial.c_str(), name.c_str()) == 0) return;
  if (file != nullptr) std::remove(partial.c_str());
  throw mp::Error{"cannot write '" + name + "'. Fix: name a file in a folder that exists, with room and permission."};
}

mp::MetricsLog read(const string& name) {
  mp::MetricsLog log = mp::read_metrics(name);
  const auto complain = [&](const mp::MetricsLog::Problem& problem, const char* what) {
    std::fprintf(stderr, "%s:%lld: %s%s\n", name.c_str(), static_cast<long long>(problem.line), what,
                 problem.reason.c_str());
  };
  if (log.torn.line > 0) complain(log.torn, "left out, the line has no end: ");
  for (const auto& problem : log.problems) complain(problem, "");
  if (log.bad_lines > 0)
    throw mp::Error{"lines of '" + name + "' that are no metrics: " + std::to_string(log.bad_lines) +
                    (log.bad_lines < 1000 ? "" : " or more") +
                    ". Fix: give the file that moepar::MetricsFile wrote, or take those lines out."};
  return log;
}

int main(int count, char** arguments) {
  if (count != 3) {
    std::fprintf(stderr, "usage: report METRICS.jsonl REPORT.html\n");
    return 2;
  }
  try {
    write_file(arguments[2], page(read(arguments[1])));
  } catch (const mp::Error& error) {
    std::fprintf(stderr, "report: %s\n", error.what());
    return 2;
  }
}
