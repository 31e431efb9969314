// SPDX-License-Identifier: Apache-2.0
#include "safetensors_test.hpp"

#include <doctest/doctest.h>

#include <array>
#include <bit>
#include <chrono>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>
#if __has_include(<nlohmann/json.hpp>)
#include <nlohmann/json.hpp>
#endif

#include <moepar/checkpoint/json_scanner.hpp>
#include <moepar/checkpoint/json_string.hpp>
#include <moepar/checkpoint/tensor_header.hpp>
#include <moepar/checkpoint/tensor_layout.hpp>
#include <moepar/checkpoint/tensor_type.hpp>
#include <moepar/core/bf16.hpp>

namespace {

using moepar::HeaderError;
using moepar::JsonToken;
using moepar::TensorType;
using namespace safetensors_test;

// What is wrong with a file of these bytes; nothing if it is valid. The sentence goes to `text`.
std::optional<HeaderError> verdict(const std::string& bytes, std::string* text = nullptr) {
  try {
    (void)moepar::parse_tensor_header(bytes, bytes.size(), "sample");
  } catch (const moepar::TensorHeaderError& error) {
    if (text != nullptr) *text = error.what();
    CHECK(holds(error.what(), "'sample'"));
    CHECK(holds(error.what(), moepar::name_of(error.error())));
    CHECK(holds(error.what(), "Fix: "));
    return error.error();
  }
  return std::nullopt;
}

// The tokens of a text, one letter each, up to an error.
std::string tokens(std::string_view text) {
  std::string letters;
  try {
    moepar::JsonScanner json{text};
    for (;;) {
      const JsonToken token = json.next();
      letters += "{}[]ksnb0."[static_cast<std::size_t>(token)];
      if (token == JsonToken::end) return letters;
    }
  } catch (const moepar::JsonError&) {
    return letters + "!";
  }
}

std::string scanned(std::string_view text) {
  moepar::JsonScanner json{text};
  return json.take_string("a string");
}

std::string written(std::string_view text, moepar::JsonEscapes escapes = moepar::JsonEscapes::needed) {
  std::string json;
  moepar::append_json_string(json, text, escapes);
  return json;
}

TEST_CASE("the scanner reads JSON and nothing else") {
  CHECK(tokens(R"( {"a":[1,-2.5e+3,true,null,{}],"b":"c"} )") == "{k[nnb0{}]ks}.");
  CHECK(tokens("[]") == "[].");
  CHECK(tokens("[[],[[]]]") == "[[][[]]].");
  CHECK(tokens("0") == "n.");
  CHECK(tokens("-0.0E-0") == "n.");
  CHECK(tokens("\t\r\n false \n") == "b.");
  for (const char* const bad : {"",   " ",   "{", "[",    "]",  "}",   ":",  ",",      "nul",  "nulll", "True", "+1",
                                ".5", "0x1", "-", "1.e1", "1e", "1e+", "\"", "\"\n\"", "\"\\", "'a'",   "NaN",  "\f1"})
    CHECK_MESSAGE(tokens(bad).ends_with('!'), bad);
  CHECK(tokens("01") == "n!");
  CHECK(tokens("1 2") == "n!");
  CHECK(tokens("{}}") == "{}!");
  CHECK(tokens("[1,]") == "[n!");
  CHECK(tokens("[,1]") == "[!");
  CHECK(tokens("[1 1]") == "[n!");
  CHECK(tokens("[1}") == "[n!");
  CHECK(tokens("{\"a\":1]") == "{kn!");
  CHECK(tokens("{\"a\"}") == "{!");
  CHECK(tokens("{\"a\":}") == "{k!");
  CHECK(tokens("{\"a\":1,}") == "{kn!");
  CHECK(tokens("{,}") == "{!");
  CHECK(tokens("{1:1}") == "{!");
  CHECK(tokens("{\"a\" 1}") == "{!");
  CHECK(tokens(std::string_view{"1\0", 2}) == "n!");
  CHECK(tokens(std::string_view{"\"a\0\"", 4}) == "!");
}

TEST_CASE("strings come out as UTF-8 and go back") {
  CHECK(scanned(R"("\"\\\/\b\f\n\r\t")") == "\"\\/\b\f\n\r\t");
  CHECK(scanned(R"("\u0041\u00e9\u20AC\ud83d\ude00\uDBFF\uDFFF")") ==
        "A\xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80\xf4\x8f\xbf\xbf");
  CHECK(scanned(R"("\u0000")") == std::string(1, '\0'));
  for (const char* const bad :
       {R"("\u")", R"("\u004")", R"("\u004g")", R"("\x41")", R"("\ud83d")", R"("\ud83dx")", R"("\ud83d\n")",
        R"("\ud83d\u0041")", R"("\ud83d\ue000")", R"("\ud83d\ud83d")", R"("\ude00")", R"("\u+041")"})
    CHECK_MESSAGE(tokens(bad) == "!", bad);

  std::string all;
  for (std::uint32_t point = 0; point < 0x110000; point += point < 0x3000 ? 1 : 0x3f1)
    if (point < 0xd800 || point >= 0xe000) {
      std::string one;
      moepar::detail::append_utf8(one, point);
      CHECK(moepar::detail::utf8_length(one) == one.size());
      CHECK(moepar::detail::code_point(one) == point);
      all += one;
    }
  CHECK(scanned(written(all)) == all);
  CHECK(scanned(written(all, moepar::JsonEscapes::ascii)) == all);
  CHECK(moepar::detail::utf8_error(all) == std::string::npos);
  CHECK(moepar::detail::utf8_error(written(all)) == std::string::npos);
  CHECK(written("a\"\\/\x1f\x7f\xc3\xa9") == "\"a\\\"\\\\/\\u001f\x7f\xc3\xa9\"");
  CHECK(written("\x7f\xc3\xa9\xf0\x9f\x98\x80", moepar::JsonEscapes::ascii) == "\"\\u007f\\u00e9\\ud83d\\ude00\"");

  for (const char* const bad :
       {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xc3(", "\xe0\x9f\xbf", "\xed\xa0\x80", "\xe2\x82", "\xf0\x8f\xbf\xbf",
        "\xf4\x90\x80\x80", "\xf0\x9f\x98", "\xf5\x80\x80\x80", "\xff"})
    CHECK(moepar::detail::utf8_error("ok" + std::string{bad}) == 2);
}

TEST_CASE("a name in an error is escaped and bounded") {
  CHECK(moepar::detail::shown_name("a\n\"\xc3\xa9") == "\"a\\n\\\"\\u00e9\"");
  CHECK(moepar::detail::shown_name(std::string(1000, 'x')) == '"' + std::string(120, 'x') + "\"...");
}

TEST_CASE("numbers are taken only where they are whole and fit") {
  const auto taken = [](const std::string& text) { return moepar::JsonScanner{text}.take_unsigned("a size"); };
  CHECK(taken("18446744073709551615") == std::numeric_limits<std::uint64_t>::max());
  CHECK(taken("0") == 0);
  for (const char* const bad :
       {"18446744073709551616", "-1", "-0", "1.0", "1e0", "1E2", "\"1\"", "null", "[1]", "99999999999999999999999"})
    CHECK(holds(refusal([&] { (void)taken(bad); }), "byte 0: a size must stand here"));
}

TEST_CASE("nesting is bounded and a deep text is refused in time, without recursion") {
  const auto nested = [](std::size_t depth) { return std::string(depth, '[') + std::string(depth, ']'); };
  CHECK(!tokens(nested(127)).ends_with('!'));
  CHECK(tokens(nested(128)).ends_with('!'));
  const std::string tensor = R"({"a":{"dtype":"U8","shape":[1],"data_offsets":[0,1],"x":)";
  CHECK(verdict(file_of(tensor + nested(125) + "}}", 1)) == std::nullopt);
  CHECK(verdict(file_of(tensor + nested(126) + "}}", 1)) == HeaderError::InvalidHeaderDeserialization);
  const auto start = std::chrono::steady_clock::now();
  std::string objects = "{";
  for (int i = 0; i < 1'000'000; ++i) objects += R"("a":{)";
  for (const std::string& text :
       {std::string(1'000'000, '['), objects, tensor + std::string(1'000'000, '['), R"({"__metadata__":)" + objects})
    CHECK(verdict(file_of(text, 1)) == HeaderError::InvalidHeaderDeserialization);
  CHECK(std::chrono::steady_clock::now() - start < std::chrono::seconds{10});
}

TEST_CASE("types are those of the format, in its order") {
  std::size_t number = 0;
  for (const auto& [name, bits] : std::initializer_list<std::pair<const char*, int>>{
           {"BOOL", 8},    {"F4", 4},      {"F6_E2M3", 6}, {"F6_E3M2", 6},     {"U8", 8},          {"I8", 8},
           {"F8_E5M2", 8}, {"F8_E4M3", 8}, {"F8_E8M0", 8}, {"F8_E4M3FNUZ", 8}, {"F8_E5M2FNUZ", 8}, {"I16", 16},
           {"U16", 16},    {"F16", 16},    {"BF16", 16},   {"I32", 32},        {"U32", 32},        {"F32", 32},
           {"C64", 64},    {"F64", 64},    {"I64", 64},    {"U64", 64}}) {
    const auto type = static_cast<TensorType>(number++);
    CHECK(moepar::name_of(type) == name);
    CHECK(moepar::bits_of(type) == bits);
    CHECK(moepar::tensor_type(name) == type);
  }
  CHECK(moepar::tensor_type("f32") == std::nullopt);
  CHECK(moepar::tensor_type("") == std::nullopt);
  CHECK(holds(refusal([] { moepar::to_floats(TensorType::I32, nullptr, {}); }), "type I32"));
  CHECK(holds(refusal([] { moepar::from_floats(TensorType::F64, {}, nullptr); }), "type F64"));
}

std::uint32_t bits(float value) { return std::bit_cast<std::uint32_t>(value); }

// One element of `type` whose bits are `value`, read at an odd address.
float read(TensorType type, std::uint64_t value) {
  std::array<std::byte, 9> memory{};
  for (std::size_t i = 0; i < 8; ++i) memory[i + 1] = static_cast<std::byte>(value >> (8 * i) & 0xff);
  float result = 0;
  moepar::to_floats(type, memory.data() + 1, {&result, 1});
  return result;
}

std::uint32_t write(TensorType type, float value) {
  std::array<std::byte, 5> memory{};
  moepar::from_floats(type, {&value, 1}, memory.data() + 1);
  std::uint32_t result = 0;
  for (std::size_t i = 4; i > 0; --i) result = result << 8 | static_cast<std::uint32_t>(memory[i]);
  return result;
}

TEST_CASE("every F16 and BF16 is read exactly and written back, what lies between goes to the nearest") {
  for (std::uint32_t half = 0; half < 0x10000; ++half) {
    const bool negative = half >= 0x8000;
    const std::uint32_t exponent = half >> 10 & 31, mantissa = half & 1023;
    double value =
        exponent == 0 ? std::ldexp(mantissa, -24) : std::ldexp(1024 + mantissa, static_cast<int>(exponent) - 25);
    if (exponent == 31) value = mantissa == 0 ? HUGE_VAL : std::nan("");
    const float found = read(TensorType::F16, half);
    REQUIRE(std::signbit(found) == negative);
    REQUIRE(std::isnan(found) == std::isnan(value));
    if (std::isnan(value)) {
      REQUIRE(bits(found) == ((half & 0x8000) << 16 | 0x7f800000 | mantissa << 13));
      REQUIRE(write(TensorType::F16, found) == (half | 0x200));
    } else {
      REQUIRE(static_cast<double>(found) == (negative ? -value : value));
      REQUIRE(write(TensorType::F16, found) == half);
    }

    const float wide = read(TensorType::BF16, half);
    REQUIRE(bits(wide) == half << 16);
    REQUIRE(write(TensorType::BF16, wide) == (std::isnan(wide) ? half | 0x40 : half));
  }
  // Between neighbours: exactly half way to the even one, else to the nearer.
  const auto check = [](TensorType type, std::uint32_t infinity) {
    for (std::uint32_t low = 0; low < infinity; ++low) {
      const double a = static_cast<double>(read(type, low));
      const double b = low + 1 < infinity ? static_cast<double>(read(type, low + 1))
                                          : 2 * a - static_cast<double>(read(type, low - 1));  // where infinity begins
      const float middle = static_cast<float>((a + b) / 2);
      if (static_cast<double>(middle) != (a + b) / 2) continue;  // between the smallest floats nothing lies
      const std::uint32_t even = low % 2 == 0 ? low : low + 1;
      REQUIRE(write(type, middle) == even);
      REQUIRE(write(type, -middle) == (even | 0x8000));
      REQUIRE(write(type, std::nextafter(middle, 0.0f)) == low);
      REQUIRE(write(type, std::nextafter(middle, HUGE_VALF)) == low + 1);
    }
  };
  check(TensorType::F16, 0x7c00);
  check(TensorType::BF16, 0x7f80);
  CHECK(write(TensorType::F16, 65520.0f) == 0x7c00);
  CHECK(write(TensorType::F16, std::nextafter(0x1p-25f, 0.0f)) == 0);
  CHECK(write(TensorType::F16, std::numeric_limits<float>::denorm_min()) == 0);
  CHECK(write(TensorType::F16, -std::numeric_limits<float>::max()) == 0xfc00);
}

TEST_CASE("F32 passes unchanged, F64 is rounded as the hardware does, BF16 as the library does") {
  std::mt19937_64 random{7};
  for (int i = 0; i < 400'000; ++i) {
    std::uint64_t word = random();
    const float single = std::bit_cast<float>(static_cast<std::uint32_t>(word));
    REQUIRE(bits(read(TensorType::F32, word)) == static_cast<std::uint32_t>(word));
    REQUIRE(write(TensorType::F32, single) == static_cast<std::uint32_t>(word));
    if (std::isnormal(single) || std::isnan(single))
      REQUIRE(write(TensorType::BF16, single) == moepar::to_bf16(single).bits);

    const std::uint64_t exponent = 1023 - 160 + random() % 300;  // around what floats reach, subnormals too
    if (i % 2 == 0) word = (word & 0x800fffffffffffff) | exponent << 52;
    if (i % 3 == 0) word &= ~0x0fffffffull;  // ties
    const double wide = std::bit_cast<double>(word);
    if (std::isnan(wide))
      REQUIRE(std::isnan(read(TensorType::F64, word)));
    else
      REQUIRE(bits(read(TensorType::F64, word)) == bits(static_cast<float>(wide)));
  }
  for (const double edge :
       {0.0, -0.0, 0x1p-150, 0x1.0000001p-150, 0x1p-149, 0x1.8p-149, 0x1.fffffefp127, 0x1.ffffffp127,
        0x1.fffffefffffffp127, HUGE_VAL, -HUGE_VAL, 0x1p-1074, 0x1.fffffffffffffp1023})
    CHECK(bits(read(TensorType::F64, std::bit_cast<std::uint64_t>(edge))) == bits(static_cast<float>(edge)));
}

TEST_CASE("each sample file has its verdict") {
  const auto folder = project_root() / "tests/fuzz/corpus/safetensors";
  std::size_t good = 0;
  for (const auto& entry : std::filesystem::directory_iterator{folder / "good"}) {
    CHECK_MESSAGE(verdict(bytes_of_file(entry.path())) == std::nullopt, entry.path());
    ++good;
  }
  CHECK(good == 16);
  const std::initializer_list<std::pair<const char*, HeaderError>> bad = {
      {"bytes_overflow", HeaderError::ValidationOverflow},
      {"empty_file", HeaderError::HeaderTooSmall},
      {"extra_bytes", HeaderError::MetadataIncompleteBuffer},
      {"f4_misaligned", HeaderError::MisalignedSlice},
      {"header_length_beyond_file", HeaderError::InvalidHeaderLength},
      {"header_too_large", HeaderError::HeaderTooLarge},
      {"invalid_info", HeaderError::TensorInvalidInfo},
      {"json_attack_shared_offsets", HeaderError::InvalidOffset},
      {"missing_2_bytes", HeaderError::MetadataIncompleteBuffer},
      {"non_utf8", HeaderError::InvalidHeader},
      {"not_json", HeaderError::InvalidHeaderDeserialization},
      {"shape_overflow", HeaderError::ValidationOverflow}};
  for (const auto& [name, error] : bad) {
    const auto path = folder / "bad" / ("upstream_" + std::string{name} + ".safetensors");
    REQUIRE(std::filesystem::exists(path));
    CHECK_MESSAGE(verdict(bytes_of_file(path)) == error, name);
  }
}

#if __has_include(<nlohmann/json.hpp>)
TEST_CASE("each shared sample file has the verdict of its list") {
  const auto folder = shared_data() / "safetensors";
  if (!std::filesystem::exists(folder / "expected.json")) {
    MESSAGE("skipped: there is no " << folder);
    return;
  }
  for (const auto& file : nlohmann::json::parse(bytes_of_file(folder / "expected.json"))) {
    const std::string bytes = bytes_of_file(folder / file.at("file").get<std::string>());
    CHECK(bytes.size() == file.at("bytes").get<std::size_t>());
    const std::optional<HeaderError> found = verdict(bytes);
    std::string expected = file.at("rules_verdict").get<std::string>();
    if (expected == "JSON") expected = "InvalidHeaderDeserialization";
    CHECK_MESSAGE((found ? std::string{moepar::name_of(*found)} : "ok") == expected, file.at("file"));
  }
}
#endif

TEST_CASE("hostile headers are refused, each by its name") {
  const auto json = HeaderError::InvalidHeaderDeserialization;
  const auto tensor = [](const std::string& type, const std::string& shape, const std::string& offsets) {
    return R"({"a":{"dtype":)" + type + R"(,"shape":)" + shape + R"(,"data_offsets":)" + offsets + "}}";
  };
  const std::string one = R"({"dtype":"F32","shape":[1],"data_offsets":[0,4]})";
  struct Case {
    std::string header;
    std::size_t data;
    std::optional<HeaderError> expected;
  };
  const std::vector<Case> cases = {
      {tensor(R"("F32")", "[1]", "[0,4]"), 4, {}},
      {tensor(R"("F32")", "[1]", "[0,4]") + " \t\r\n", 4, {}},
      {" " + tensor(R"("F32")", "[1]", "[0,4]"), 4, {}},
      {R"({"\u0061":)" + one + R"(,"":{"dtype":"F32","shape":[],"data_offsets":[4,8],"x":{"dtype":[{}]}}})", 8, {}},
      {R"({"__metadata__":null})", 0, {}},
      {R"({"__metadata__":{"a":"b"},"a":)" + one + "}", 4, {}},
      {tensor(R"("F32")", "[0,18446744073709551615,18446744073709551615]", "[0,0]"), 0, {}},
      {tensor(R"("F4")", "[4]", "[0,2]"), 2, {}},
      {tensor(R"("F6_E2M3")", "[4]", "[0,3]"), 3, {}},
      // not JSON, or not of the form
      {"", 0, json},
      {" ", 0, json},
      {"[]", 0, json},
      {"null", 0, json},
      {"{}x", 0, json},
      {"{} {}", 0, json},
      {"{", 0, json},
      {std::string{"{}\0", 3}, 0, json},
      {"\xef\xbb\xbf{}", 0, json},
      {R"({"a":null})", 0, json},
      {R"({"a":["F32",[1],[0,4]]})", 4, json},
      {R"({"a":{}})", 0, json},
      {R"({"a":{"dtype":"F32","shape":[1]}})", 4, json},
      {R"({"a":{"dtype":"F32","data_offsets":[0,4]}})", 4, json},
      {R"({"a":{"shape":[1],"data_offsets":[0,4]}})", 4, json},
      {R"({"a":{"dtype":"F32","dtype":"F32","shape":[1],"data_offsets":[0,4]}})", 4, json},
      {R"({"a":{"dtype":"F32","shape":[1],"shape":[],"data_offsets":[0,4]}})", 4, json},
      {R"({"a":{"dtype":"F32","shape":[1],"data_offsets":[0,4],"data_offsets":[0,4]}})", 4, json},
      {R"({"a":)" + one + R"(,"a":)" + one + "}", 4, json},
      {R"({"a":)" + one + R"(,"\u0061":{"dtype":"F32","shape":[1],"data_offsets":[4,8]}})", 8, json},
      {R"({"__metadata__":{},"__metadata__":{}})", 0, json},
      {R"({"__metadata__":{"a":"b","a":"c"}})", 0, json},
      {R"({"__metadata__":{"a":1}})", 0, json},
      {R"({"__metadata__":{"a":null}})", 0, json},
      {R"({"__metadata__":{"a":{"b":"c"}}})", 0, json},
      {R"({"__metadata__":["a"]})", 0, json},
      {R"({"__metadata__":"a"})", 0, json},
      {tensor(R"("F33")", "[1]", "[0,4]"), 4, json},
      {tensor(R"("f32")", "[1]", "[0,4]"), 4, json},
      {tensor("32", "[1]", "[0,4]"), 4, json},
      {tensor("null", "[1]", "[0,4]"), 4, json},
      {tensor(R"("F32")", "[-1]", "[0,4]"), 4, json},
      {tensor(R"("F32")", "[1.0]", "[0,4]"), 4, json},
      {tensor(R"("F32")", "[1e0]", "[0,4]"), 4, json},
      {tensor(R"("F32")", R"(["1"])", "[0,4]"), 4, json},
      {tensor(R"("F32")", "[[1]]", "[0,4]"), 4, json},
      {tensor(R"("F32")", "[null]", "[0,4]"), 4, json},
      {tensor(R"("F32")", "1", "[0,4]"), 4, json},
      {tensor(R"("F32")", "[18446744073709551616]", "[0,4]"), 4, json},
      {tensor(R"("F32")", "[1]", "[0]"), 4, json},
      {tensor(R"("F32")", "[1]", "[]"), 4, json},
      {tensor(R"("F32")", "[1]", "[0,4,4]"), 4, json},
      {tensor(R"("F32")", "[1]", "[-4,0]"), 4, json},
      {tensor(R"("F32")", "[1]", "[0,4.0]"), 4, json},
      {tensor(R"("F32")", "[1]", R"(["0","4"])"), 4, json},
      {tensor(R"("F32")", "[1]", "[0,18446744073709551616]"), 4, json},
      {tensor(R"("F32")", "[1]", R"({"begin":0,"end":4})"), 4, json},
      {R"({"\ud800":)" + one + "}", 4, json},
      // UTF-8
      {"{\"\xed\xa0\x80\":" + one + "}", 4, HeaderError::InvalidHeader},
      {"{\"\xff\":" + one + "}", 4, HeaderError::InvalidHeader},
      {"{}\xc3", 0, HeaderError::InvalidHeader},
      // offsets
      {tensor(R"("F32")", "[1]", "[1,5]"), 5, HeaderError::InvalidOffset},
      {tensor(R"("F32")", "[1]", "[4,8]"), 8, HeaderError::InvalidOffset},
      {tensor(R"("F32")", "[1]", "[4,0]"), 4, HeaderError::InvalidOffset},
      {R"({"a":)" + one + R"(,"b":)" + one + "}", 4, HeaderError::InvalidOffset},
      {R"({"a":)" + one + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[5,9]}})", 9, HeaderError::InvalidOffset},
      {R"({"a":)" + one + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[3,7]}})", 7, HeaderError::InvalidOffset},
      {R"({"a":)" + one + R"(,"b":{"dtype":"F32","shape":[1],"data_offsets":[4,0]}})", 4, HeaderError::InvalidOffset},
      // sizes
      {tensor(R"("F32")", "[18446744073709551615,2]", "[0,4]"), 4, HeaderError::ValidationOverflow},
      {tensor(R"("F32")", "[18446744073709551615,18446744073709551615,0]", "[0,0]"), 0,
       HeaderError::ValidationOverflow},
      {tensor(R"("F32")", "[576460752303423488]", "[0,4]"), 4, HeaderError::ValidationOverflow},
      {tensor(R"("F32")", "[576460752303423487]", "[0,4]"), 4, HeaderError::TensorInvalidInfo},
      {tensor(R"("F4")", "[3]", "[0,2]"), 2, HeaderError::MisalignedSlice},
      {tensor(R"("F6_E3M2")", "[1]", "[0,1]"), 1, HeaderError::MisalignedSlice},
      {tensor(R"("F32")", "[1]", "[0,8]"), 8, HeaderError::TensorInvalidInfo},
      {tensor(R"("F32")", "[2]", "[0,4]"), 4, HeaderError::TensorInvalidInfo},
      {tensor(R"("F32")", "[]", "[0,0]"), 0, HeaderError::TensorInvalidInfo},
      {tensor(R"("F32")", "[0]", "[0,4]"), 4, HeaderError::TensorInvalidInfo},
      {tensor(R"("U8")", "[9223372036854775807]", "[0,9223372036854775807]"), 4, HeaderError::ValidationOverflow},
      {tensor(R"("U8")", "[1152921504606846976]", "[0,1152921504606846976]"), 4, HeaderError::MetadataIncompleteBuffer},
      {tensor(R"("F32")", "[1]", "[0,4]"), 3, HeaderError::MetadataIncompleteBuffer},
      {tensor(R"("F32")", "[1]", "[0,4]"), 5, HeaderError::MetadataIncompleteBuffer},
      {"{}", 1, HeaderError::MetadataIncompleteBuffer}};
  for (const Case& each : cases) {
    std::string text;
    const std::optional<HeaderError> found = verdict(file_of(each.header, each.data), &text);
    CHECK_MESSAGE(found == each.expected, each.header << " with " << each.data << " bytes: " << text);
  }
}

TEST_CASE("lengths are checked before anything is read or allocated") {
  const auto length = [](std::uint64_t value) {
    std::string bytes;
    for (unsigned shift = 0; shift < 64; shift += 8) bytes += static_cast<char>(value >> shift & 0xff);
    return bytes;
  };
  CHECK(verdict("1234567") == HeaderError::HeaderTooSmall);
  CHECK(verdict(length(100'000'001)) == HeaderError::HeaderTooLarge);
  CHECK(verdict(length(~std::uint64_t{0}) + "{}") == HeaderError::HeaderTooLarge);
  CHECK(verdict(length(100'000'000) + "{}") == HeaderError::InvalidHeaderLength);
  CHECK(verdict(length(3) + "{}") == HeaderError::InvalidHeaderLength);
  CHECK(verdict(length(2) + "{}") == std::nullopt);
  CHECK(moepar::tensor_header_end(length(2), 10, "f") == 10);
  CHECK(holds(refusal([&] { (void)moepar::parse_tensor_header(length(2), 10, "f"); }), "8 bytes of 'f' were given"));
}

TEST_CASE("errors name file, tensor and values") {
  std::string text;
  const std::string header = R"({"a\n":{"dtype":"BF16","shape":[2,3],"data_offsets":[0,4]}})";
  CHECK(verdict(file_of(header, 4), &text) == HeaderError::TensorInvalidInfo);
  CHECK(
      text ==
      R"(moepar: 'sample' is no valid safetensors file (TensorInvalidInfo): tensor "a\n" of type BF16 and shape [2, 3] )"
      "at bytes 0 to 4 needs 12 bytes. Fix: get the file again, or write it with a safetensors library.");
  CHECK(verdict(file_of(R"({"a":{"dtype":"F3"}})", 0), &text) == HeaderError::InvalidHeaderDeserialization);
  CHECK(holds(text, R"(tensor "a": the JSON of the header, byte 18: the dtype "F3" before this is not one)"));
}

TEST_CASE("the header says what the file says") {
  const auto path = project_root() / "tests/fuzz/corpus/safetensors/good/zero_sized_between.safetensors";
  const std::string bytes = bytes_of_file(path);
  const moepar::TensorHeader header = moepar::parse_tensor_header(bytes, bytes.size());
  CHECK(header.file_size() == bytes.size());
  std::string names;
  for (const moepar::TensorInfo& tensor : header.tensors) names += tensor.name + std::to_string(tensor.elements());
  CHECK(names.find("e0c") != std::string::npos);  // the empty one stands before the one that begins at the same byte
  const moepar::TensorHeader all = [] {
    const auto file = project_root() / "tests/fuzz/corpus/safetensors/good/all_dtypes.safetensors";
    const std::string text = bytes_of_file(file);
    return moepar::parse_tensor_header(text, text.size());
  }();
  for (const moepar::TensorInfo& tensor : all.tensors) {
    CHECK(tensor.elements() * moepar::bits_of(tensor.type) == 8 * tensor.bytes());
    CHECK(!tensor.shape.empty());
  }
  const std::string described = file_of(R"({"__metadata__":{"z":"1","a":"\u00e9"}})");
  CHECK(moepar::parse_tensor_header(described, described.size()).metadata ==
        moepar::TensorMetadata{{"z", "1"}, {"a", "\xc3\xa9"}});
}

TEST_CASE("the writer's header has the bytes of the reference writer") {
  using Entries = std::vector<moepar::TensorEntry>;
  const auto sample = [](const std::string& name, std::size_t data) {
    std::string bytes =
        bytes_of_file(project_root() / ("tests/fuzz/corpus/safetensors/good/upstream_" + name + ".safetensors"));
    return bytes.substr(0, bytes.size() - data);
  };
  CHECK(moepar::tensor_header_bytes(Entries{{"attn.0", TensorType::F32, {1, 2, 3}}}) == sample("serialization", 24));
  CHECK(moepar::tensor_header_bytes(Entries{{"attn0", TensorType::F32, {1, 1, 2, 3}}}) ==
        sample("forced_alignment", 24));
  CHECK(moepar::tensor_header_bytes(Entries{}) == sample("empty", 0));
  CHECK(moepar::tensor_header_bytes(Entries{}, {{"framework", "pt"}}) == sample("empty_metadata", 0));
  // As safetensors 0.8.0 writes it: larger types first, then names; escapes only where they must be.
  const Entries entries{{"b\x7f\"\\/\n\x01\xe2\x80\xa8\xc3\xa9\xf0\x9f\x98\x80", TensorType::F32, {1}},
                        {"c", TensorType::F32, {}},
                        {"a", TensorType::I64, {2}}};
  CHECK(moepar::tensor_header_bytes(entries, {{"k\t", "v\x1f\b\f"}}) ==
        std::string{"\xe0\0\0\0\0\0\0\0", 8} +
            "{\"__metadata__\":{\"k\\t\":\"v\\u001f\\b\\f\"},\"a\":{\"dtype\":\"I64\",\"shape\":[2],\"data_offsets\":["
            "0,16]},"
            "\"b\x7f\\\"\\\\/\\n\\u0001\xe2\x80\xa8\xc3\xa9\xf0\x9f\x98\x80\":{\"dtype\":\"F32\",\"shape\":[1],"
            "\"data_offsets\":[16,20]},\"c\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[20,24]}}");
}

TEST_CASE("what no reader would take is not written") {
  using Entries = std::vector<moepar::TensorEntry>;
  const auto refused = [](const Entries& entries, moepar::TensorMetadata metadata = {}) {
    return refusal([&] { (void)moepar::lay_out_tensors(entries, std::move(metadata)); });
  };
  CHECK(holds(refused({{"a", TensorType::F32, {1}}, {"a", TensorType::BF16, {1}}}), "\"a\" stands twice"));
  CHECK(holds(refused({}, {{"a", "b"}, {"a", "c"}}), "\"a\" stands twice"));
  CHECK(holds(refused({{"__metadata__", TensorType::F32, {1}}}), "has the name \"__metadata__\""));
  CHECK(holds(refused({{"\xff", TensorType::F32, {1}}}), "not UTF-8"));
  CHECK(holds(refused({}, {{"a", "\xff"}}), "not UTF-8"));
  CHECK(holds(refused({{"a", TensorType::F4, {3}}}), "does not fill whole bytes"));
  CHECK(holds(refused({{"a", TensorType::U8, {std::uint64_t{1} << 61}}}), "shape [2305843009213693952] is too large"));
  CHECK(holds(refused({{"a", TensorType::U8, {std::uint64_t{1} << 60}},
                       {"b", TensorType::U8, {std::uint64_t{1} << 60}},
                       {"c", TensorType::U8, {std::uint64_t{1} << 60}},
                       {"d", TensorType::U8, {std::uint64_t{1} << 60}},
                       {"e", TensorType::U8, {1}}}),
              "tensor \"e\""));
}

}  // namespace
