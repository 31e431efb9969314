// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <functional>
#include <set>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/models/config_json.hpp>

// Needs nlohmann/json, so moepar/moe.hpp leaves it out.
namespace moepar::detail {

//! A field of config.json that gives this model nothing to compute with.
struct KnownField {
  const char* name;
  const char* allowed;  //!< JSON array of the values that change nothing here; nullptr: any value
  const char* reason;   //!< why others are refused, or what the field is for
};

//! What null means for a size that must be there: a mistake, or the same as no such field.
enum class NullSize { refused, absent };

//! Reads the fields of one config.json and collects what is wrong with them, so that one run tells all of it.
class ConfigFields {
 public:
  static constexpr Index largest_number = Index{1} << 30;  //!< of one size

  //! Both must outlive this.
  ConfigFields(const nlohmann::json& config, const std::string& file) : config_{config}, file_{file} {}

  //! The field, or nullptr; it counts as read.
  const nlohmann::json* find(const std::string& name) {
    read_.insert(name);
    const auto found = config_.find(name);
    return found == config_.end() ? nullptr : &*found;
  }

  void problem(std::string text) { problems_.push_back(std::move(text)); }
  [[nodiscard]] bool good() const { return problems_.empty(); }

  //! Collects what `check` throws.
  template <class Check> void attempt(const Check& check) {
    try {
      check();
    } catch (const Error& error) {
      problem(error.what());
    }
  }

  //! Each of these leaves `value` as it is, and says so, when the file has no such field or a wrong one.
  bool size(const char* name, Index& value, NullSize null) {
    const auto* field = find(name);
    if (field == nullptr || (field->is_null() && null == NullSize::absent)) return false;
    if (!field->is_number_integer())
      return wrong(name, "must be a whole number, but is " + shown(*field) + ". Fix: write a number.");
    if (field->is_number_unsigned() && field->get<std::uint64_t>() > std::uint64_t{largest_number})
      return wrong(name, "is " + shown(*field) + ", more than 2^30. Fix: correct it.");
    if (field->get<Index>() < 1) return wrong(name, "= " + shown(*field) + ", less than 1. Fix: correct it.");
    value = field->get<Index>();
    return true;
  }

  bool number(const char* name, double& value, double least) { return number(find(name), name, value, least); }
  bool number(const nlohmann::json* field, const char* name, double& value, double least) {
    if (field == nullptr) return false;
    if (!field->is_number()) return wrong(name, "must be a number, but is " + shown(*field) + ". Fix: write a number.");
    if (!(field->get<double>() >= least))
      return wrong(name, "is " + shown(*field) + ", less than " + std::to_string(static_cast<Index>(least)) +
                             ". Fix: correct it.");
    value = field->get<double>();
    return true;
  }

  bool flag(const char* name, bool& value, NullSize null) {
    const auto* field = find(name);
    if (field == nullptr || (field->is_null() && null == NullSize::absent)) return false;
    if (!field->is_boolean())
      return wrong(name, "must be true or false, but is " + shown(*field) + ". Fix: write one of them.");
    value = field->get<bool>();
    return true;
  }

  //! A token; null is none, -1, and so is -1 itself, as files on the hub have it. A list of one is that one.
  void token(const char* name, Index vocabulary, Index& value) {
    const auto* field = find(name);
    if (field == nullptr) {
      if (value >= vocabulary) value = -1;  // the default of a larger model
      return;
    }
    if (field->is_array() && field->size() == 1) field = &field->front();
    // Compared as it is stored: to nlohmann 2^64 - 1 equals -1.
    const bool huge = field->is_number_unsigned() && field->get<std::uint64_t>() > std::uint64_t{largest_number};
    if (field->is_array())
      problem(std::string{name} + " is " + shown(*field) + ", and one token is supported. Fix: leave one of them.");
    else if (!field->is_null() && !field->is_number_integer())
      problem(std::string{name} + " must be a token or null, but is " + shown(*field) + ". Fix: write a whole number.");
    else if (huge || (!field->is_null() && (field->get<Index>() < -1 || field->get<Index>() >= vocabulary)))
      problem(std::string{name} + " is " + shown(*field) + ", outside of the vocabulary of " +
              std::to_string(vocabulary) + ". Fix: correct it, or write null.");
    else
      value = field->is_null() ? -1 : field->get<Index>();
  }

  //! Of all fields that were not read: those with a value that is not supported, and those that are not known.
  void rest(std::span<const KnownField> known_fields) {
    for (const auto& [name, value] : config_.items()) {
      if (read_.contains(name)) continue;
      const auto known = std::find_if(known_fields.begin(), known_fields.end(),
                                      [&](const KnownField& field) { return field.name == name; });
      if (known == known_fields.end())
        problem("the field " + shown(name) + " (" + shown(value) +
                ") is not known. Fix: remove it if it does not change what the model computes.");
      else if (known->allowed != nullptr)
        one_of(*known, value);
    }
  }

  //! Throws Error with all that is wrong, when something is.
  void report() const {
    constexpr std::size_t most = 20;
    if (problems_.empty()) return;
    if (problems_.size() == 1) refuse_config(file_, problems_.front());
    std::string text = "has " + std::to_string(problems_.size()) + " problems";
    for (std::size_t i = 0; i < std::min(problems_.size(), most); ++i) text += "\n  " + problems_[i];
    if (problems_.size() > most) text += "\n  and " + std::to_string(problems_.size() - most) + " more";
    refuse_config(file_, text);
  }

 private:
  bool wrong(const char* name, const std::string& what) {
    problem(std::string{name} + ' ' + what);
    return false;
  }

  void one_of(const KnownField& known, const nlohmann::json& value) {
    const auto allowed = nlohmann::json::parse(known.allowed);
    if (std::find(allowed.begin(), allowed.end(), value) != allowed.end()) return;
    std::string values;
    for (const auto& each : allowed) values += (values.empty() ? "" : " or ") + each.dump();
    problem(std::string{known.name} + " is " + shown(value) + ", and only " + values +
            " is supported: " + known.reason + ". Fix: take a model that has it so.");
  }

  const nlohmann::json& config_;
  const std::string& file_;
  std::set<std::string, std::less<>> read_{};
  std::vector<std::string> problems_{};
};

}  // namespace moepar::detail
