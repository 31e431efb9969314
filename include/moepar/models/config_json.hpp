// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <filesystem>
#include <fstream>
#include <set>
#include <string>
#include <system_error>
#include <vector>

#include <nlohmann/json.hpp>

#include <moepar/core/error.hpp>

// Needs nlohmann/json, so moepar/moe.hpp leaves it out.
namespace moepar {
namespace detail {

inline constexpr std::size_t largest_config_bytes = 1 << 20;
inline constexpr int deepest_config = 16;

//! What a value of a file looks like, in at most 60 printable bytes.
inline std::string shown(const nlohmann::json& value) {
  const std::string text = value.dump(-1, ' ', /*ensure_ascii=*/true, nlohmann::json::error_handler_t::replace);
  return text.size() <= 60 ? text : text.substr(0, 57) + "...";
}

//! What the parser says, without its number, shortened: it quotes the file, which may be long and unprintable.
inline std::string parser_text(const nlohmann::json::exception& error) {
  std::string text = error.what();
  text.erase(0, text.find("] ") == std::string::npos ? 0 : text.find("] ") + 2);
  if (text.size() > 160) text = text.substr(0, 157) + "...";
  std::replace_if(text.begin(), text.end(), [](char c) { return c < ' ' || c > '~'; }, '?');
  return text;
}

[[noreturn]] inline void refuse_config(const std::string& file, const std::string& what) {
  throw Error{"moepar: " + file + ": " + what};
}

}  // namespace detail

//! The JSON object that the file holds. Size and depth are bounded before parsing, and a key that stands twice is
//! refused: readers disagree about which counts. Throws Error for all else too that is no config.json: no regular file
//! (a pipe would wait), not readable, larger than 1 MiB, a NUL byte, no JSON, no object.
[[nodiscard]] inline nlohmann::json parse_config_json(const std::string& file) {
  using detail::refuse_config;
  std::error_code problem;
  if (!std::filesystem::is_regular_file(file, problem))
    refuse_config(file, "is no file. Fix: give the path of a config.json.");
  std::ifstream stream{file, std::ios::binary};
  if (!stream) refuse_config(file, "cannot be read. Fix: check its rights.");
  std::string text(detail::largest_config_bytes + 1, '\0');
  stream.read(text.data(), static_cast<std::streamsize>(text.size()));
  if (stream.bad()) refuse_config(file, "cannot be read. Fix: check the disk and the rights.");
  text.resize(static_cast<std::size_t>(stream.gcount()));
  if (text.size() > detail::largest_config_bytes)
    refuse_config(file, "is larger than 1 MiB. Fix: give the config.json of a model.");
  if (text.find('\0') != std::string::npos)
    refuse_config(file, "holds a NUL byte. Fix: give the config.json of a model.");

  std::vector<std::set<std::string>> keys;
  const auto callback = [&](int depth, nlohmann::json::parse_event_t event, nlohmann::json& parsed) {
    if (depth > detail::deepest_config)
      refuse_config(file, "is nested more than 16 deep. Fix: give the config.json of a model.");
    if (event == nlohmann::json::parse_event_t::object_start) keys.emplace_back();
    if (event == nlohmann::json::parse_event_t::object_end) keys.pop_back();
    if (event == nlohmann::json::parse_event_t::key && !keys.back().insert(parsed.get<std::string>()).second)
      refuse_config(file, "the key " + detail::shown(parsed) + " stands twice. Fix: remove one.");
    return true;
  };
  try {
    auto config = nlohmann::json::parse(text, callback);
    if (!config.is_object()) refuse_config(file, "is no JSON object. Fix: give the config.json of a model.");
    return config;
  } catch (const nlohmann::json::exception& error) {
    refuse_config(file, "is no JSON: " + detail::parser_text(error) + ". Fix: give the config.json of a model.");
  }
}

}  // namespace moepar
