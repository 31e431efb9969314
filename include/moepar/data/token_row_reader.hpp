// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/json_object_events.hpp>
#include <moepar/data/token_row.hpp>

namespace moepar {
namespace detail {

class TokenRowReader : public JsonObjectEvents<TokenRowReader> {
 public:
  TokenRowReader(Index vocabulary, const std::string& place) : JsonObjectEvents{place, 4}, vocabulary_{vocabulary} {}

  TokenRow row(std::string_view line) {
    read(line);
    if (!seen_[0]) refuse("it has no input_ids", "write {\"input_ids\": [...]}");
    if (!seen_[1]) row_.mask.assign(row_.ids.size(), 1);
    if (!seen_[2]) row_.labels = row_.ids;
    if (row_.mask.size() != row_.ids.size() || row_.labels.size() != row_.ids.size())
      refuse(std::to_string(row_.ids.size()) + " input_ids, " + std::to_string(row_.mask.size()) +
                 " of attention_mask and " + std::to_string(row_.labels.size()) + " labels",
             "make the three equally long");
    return std::move(row_);
  }

  void on_key(std::string_view key) {
    constexpr std::string_view names[] = {"input_ids", "attention_mask", "labels"};
    std::vector<std::int32_t>* const values[] = {&row_.ids, &row_.mask, &row_.labels};
    values_ = nullptr;
    for (std::size_t field = 0; field < 3; ++field)
      if (key == names[field]) name_ = names[field], values_ = values[field], field_ = field, seen_[field] = true;
  }
  void on_array(bool opens) {
    if (values_ == nullptr) return;
    if (opens && depth() > 1) wrong("holds an array");
    if (!opens) values_ = nullptr;
  }
  void on_object(bool opens) {
    if (values_ != nullptr && opens) wrong(depth() > 1 ? "holds an object" : "is an object");
  }
  void on_scalar(const JsonScalar& value) {
    if (values_ == nullptr) return;
    if (depth() == 1) wrong("is no array");
    if (value.type != JsonScalar::whole) {
      constexpr std::string_view types[] = {"null", "true or false", "", "a number that is not written whole",
                                            "a text"};
      wrong("holds " + std::string{types[value.type]} + " at place " + std::to_string(values_->size()));
    }
    const std::int64_t number = value.number;
    const bool mask = field_ == 1, label = field_ == 2;
    const bool known =
        mask ? number == 0 || number == 1 : (number >= 0 && number < vocabulary_) || (label && number == ignored_label);
    if (!known)
      refuse(std::string{name_} + '[' + std::to_string(values_->size()) + "] is " + std::to_string(number) +
                 (mask ? std::string{", neither 0 nor 1"}
                       : ", outside the vocabulary 0.." + std::to_string(vocabulary_ - 1)),
             mask    ? "write 1 for a token and 0 for padding"
             : label ? "write -100 where nothing is to be predicted, and use the tokenizer of the model"
                     : "use the tokenizer of the model");
    values_->push_back(static_cast<std::int32_t>(number));
  }

 private:
  [[noreturn]] void wrong(const std::string& what) const {
    refuse(std::string{name_} + ' ' + what, "write an array of whole numbers");
  }

  Index vocabulary_;
  TokenRow row_;
  bool seen_[3] = {};
  std::string_view name_;
  std::vector<std::int32_t>* values_ = nullptr;  // of the field that is being read; null: a field that is ignored
  std::size_t field_ = 0;
};

}  // namespace detail

//! Reads one line of training data, `{"input_ids": [...], "attention_mask": [...], "labels": [...]}`. Without
//! attention_mask every position is a token, without labels they are the ids; other fields are passed over. Throws
//! Error, its sentence starting with `place` ("FILE:LINE"), for anything that is not valid JSON in UTF-8, nesting
//! deeper than 4, a key that stands twice, other types, ids outside 0..vocabulary-1, labels outside it other than -100,
//! a mask other than 0 and 1, or lengths that differ. Memory is at most a small multiple of the line.
[[nodiscard]] inline TokenRow read_token_row(std::string_view line, Index vocabulary, const std::string& place) {
  return detail::TokenRowReader{vocabulary, place}.row(line);
}

}  // namespace moepar
