// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstddef>
#include <cstdint>
#include <set>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moepar/core/error.hpp>
#include <moepar/core/index.hpp>
#include <moepar/data/shown_text.hpp>
#include <nlohmann/json.hpp>

namespace moepar::detail {

//! A value of JSON that holds no others.
struct JsonScalar {
  enum Type { null, flag, whole, real, text } type;
  std::int64_t number = 0;            //!< of a whole one
  std::string* characters = nullptr;  //!< of a text, to be moved from
};

//! Reads a line that must be one object of JSON (RFC 8259, UTF-8, no byte order mark, no NUL), as nlohmann's events: no
//! document is built, nothing recurses, and memory is at most a small multiple of the line. Keys that stand twice in
//! one object, more than 65536 of them, and nesting deeper than `deepest`, are refused. Derived hears of the object's
//! own fields by on_key(key), and of everything below by on_array(opens), on_object(opens) and on_scalar(scalar), with
//! depth() being 1 for the object's own values. It may throw.
template <class Derived> class JsonObjectEvents {
 public:
  //! `place` starts the sentences of errors.
  JsonObjectEvents(std::string place, int deepest) : place_{std::move(place)}, deepest_{deepest} {}

  //! Throws Error for anything that is no such line.
  void read(std::string_view line) {
    if (line.starts_with("\xef\xbb\xbf"))
      refuse("it starts with a byte order mark", "save the file as UTF-8 without one");
    if (const std::size_t at = line.find('\0'); at != std::string_view::npos)
      refuse("byte " + std::to_string(at) + " is NUL", "write one JSON object a line");
    nlohmann::json::sax_parse(line.begin(), line.end(), this);
  }

  [[noreturn]] void refuse(const std::string& problem, const std::string& fix) const {
    throw Error{place_ + ": " + problem + ". Fix: " + fix + "."};
  }

  // nlohmann's interface.
  bool null() { return scalar({JsonScalar::null}); }
  bool boolean(bool) { return scalar({JsonScalar::flag}); }
  bool number_integer(std::int64_t number) { return scalar({JsonScalar::whole, number}); }
  bool number_unsigned(std::uint64_t number) {
    // Larger ones are beyond any vocabulary; what counts is that they are refused.
    return scalar({JsonScalar::whole, number > INT64_MAX ? INT64_MAX : static_cast<std::int64_t>(number)});
  }
  bool number_float(double, const std::string&) { return scalar({JsonScalar::real}); }
  bool string(std::string& text) { return scalar({JsonScalar::text, 0, &text}); }
  bool binary(nlohmann::json::binary_t&) { return false; }
  bool start_object(std::size_t) {
    if (depth_ > 0) derived().on_object(true);
    enter();
    keys_.emplace_back();
    return true;
  }
  bool key(std::string& key) {
    if (!keys_.back().insert(key).second) refuse("the key " + shown_text(key) + " stands twice", "remove one");
    if (keys_.back().size() > most_keys)
      refuse("an object has more than " + std::to_string(most_keys) + " keys", "write fewer fields");
    if (depth_ == 1) derived().on_key(key);
    return true;
  }
  bool end_object() {
    keys_.pop_back();
    if (--depth_ > 0) derived().on_object(false);
    return true;
  }
  bool start_array(std::size_t) {
    if (depth_ == 0) refuse("it is an array and no object", "write one JSON object a line");
    derived().on_array(true);
    enter();
    return true;
  }
  bool end_array() {
    --depth_;
    derived().on_array(false);
    return true;
  }
  bool parse_error(std::size_t position, const std::string&, const nlohmann::detail::exception& error) {
    // What nlohmann quotes from the line may be as long as the line.
    std::string_view why = error.what();
    why = why.substr(0, why.find("; last read"));
    if (const std::size_t at = why.find(": "); at != std::string_view::npos) why.remove_prefix(at + 2);
    const bool number = error.id == 406;
    refuse("it is no JSON at byte " + std::to_string(position) + ": " +
               (number ? std::string{"a number is out of range"} : std::string{why.substr(0, 120)}),
           "write one JSON object a line");
    return false;
  }

 protected:
  [[nodiscard]] int depth() const { return depth_; }

 private:
  Derived& derived() { return static_cast<Derived&>(*this); }

  void enter() {
    if (++depth_ > deepest_)
      refuse("it is nested more than " + std::to_string(deepest_) + " deep", "write flat objects");
  }

  bool scalar(const JsonScalar& value) {
    if (depth_ == 0) refuse("it is a single value and no object", "write one JSON object a line");
    derived().on_scalar(value);
    return true;
  }

  static constexpr std::size_t most_keys = 1 << 16;  // a set of them takes ten times the room of the line

  std::string place_;
  int deepest_;
  int depth_ = 0;
  std::vector<std::set<std::string>> keys_;  // of the objects that are open
};

}  // namespace moepar::detail
