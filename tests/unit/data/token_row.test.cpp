// SPDX-License-Identifier: Apache-2.0
#include <moepar/data/token_row.hpp>

#include <doctest/doctest.h>

#include <cstdint>
#include <random>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <moepar/core/error.hpp>

namespace {

using moepar::Index;
using moepar::pack;
using moepar::PackedRow;
using moepar::TokenRow;
using Tokens = std::vector<std::int32_t>;

std::string refusal(const TokenRow& row) {
  try {
    (void)pack(row, "file:7");
  } catch (const moepar::Error& error) {
    CHECK(std::string_view{error.what()}.find("Fix: ") != std::string_view::npos);
    CHECK(std::string_view{error.what()}.starts_with("file:7: "));
    return error.what();
  }
  return {};
}

bool holds(const std::string& text, std::string_view part) { return text.find(part) != std::string::npos; }

TEST_CASE("padding goes, each label stands at the token before it") {
  const PackedRow all = pack({{5, 6, 7}, {1, 1, 1}, {5, 6, 7}}, "");
  CHECK(all.ids == Tokens{5, 6, 7});
  CHECK(all.targets == Tokens{6, 7, -1});
  CHECK(all.ignored == 0);

  const PackedRow right = pack({{5, 6, 0, 0}, {1, 1, 0, 0}, {5, 6, -100, -100}}, "");
  CHECK(right.ids == Tokens{5, 6});
  CHECK(right.targets == Tokens{6, -1});
  CHECK(right.ignored == 0);

  // The pad token as label: the last token predicts the first of them, padding the others.
  const PackedRow labelled = pack({{5, 6, 0, 0}, {1, 1, 0, 0}, {5, 6, 0, 0}}, "");
  CHECK(labelled.targets == Tokens{6, 0});
  CHECK(labelled.ignored == 1);

  // On the left padding would have to predict the first token; the label of the first position counts nowhere.
  const PackedRow left = pack({{0, 0, 5, 6}, {0, 0, 1, 1}, {0, 0, 5, 6}}, "");
  CHECK(left.ids == Tokens{5, 6});
  CHECK(left.targets == Tokens{6, -1});
  CHECK(left.ignored == 2);

  const PackedRow masked = pack({{5, 6, 7}, {1, 1, 1}, {-100, -100, 9}}, "");
  CHECK(masked.targets == Tokens{-1, 9, -1});
  CHECK(pack({{5}, {1}, {5}}, "").targets == Tokens{-1});
}

TEST_CASE("holes, rows without a token and lengths that differ are refused") {
  CHECK(holds(refusal({{5, 6, 7}, {1, 0, 1}, {5, 6, 7}}), "position 1 is padding between tokens, position 2"));
  CHECK(holds(refusal({{1, 2, 3, 4, 5}, {0, 1, 0, 0, 1}, {1, 2, 3, 4, 5}}), "position 2 is padding"));
  CHECK(holds(refusal({{5, 6}, {0, 0}, {5, 6}}), "2 positions has no token"));
  CHECK(holds(refusal({}), "0 positions has no token"));
  CHECK(holds(refusal({{5, 6}, {1}, {5, 6}}), "2 input_ids, 1 of attention_mask and 2 labels"));
  CHECK(holds(refusal({{5, 6}, {1, 1}, {5}}), "1 labels"));
}

// transformers: shift_logits = logits[:-1], shift_labels = labels[1:], mean over shift_labels != -100. Which (context,
// label) pairs does that score, and by which position?
TEST_CASE("targets are what transformers' shift scores at real tokens, and ignored is all the rest") {
  std::mt19937 random{11};
  for (int round = 0; round < 3000; ++round) {
    const std::size_t size = 1 + random() % 9, first = random() % size, last = first + 1 + random() % (size - first);
    TokenRow row;
    for (std::size_t position = 0; position < size; ++position) {
      row.ids.push_back(static_cast<std::int32_t>(random() % 50));
      row.mask.push_back(position >= first && position < last ? 1 : 0);
      row.labels.push_back(random() % 3 == 0 ? -100 : static_cast<std::int32_t>(random() % 50));
    }
    std::vector<std::pair<std::size_t, std::int32_t>> scored;  // by the position among the tokens
    Index by_padding = 0;
    for (std::size_t i = 0; i + 1 < size; ++i) {
      const std::int32_t shifted = row.labels[i + 1];
      if (shifted == -100) continue;
      if (row.mask[i] == 0)
        ++by_padding;
      else
        scored.emplace_back(i - first, shifted);
    }
    const PackedRow packed = pack(row, "");
    CHECK(packed.ids == Tokens(row.ids.begin() + static_cast<std::ptrdiff_t>(first),
                               row.ids.begin() + static_cast<std::ptrdiff_t>(last)));
    REQUIRE(packed.targets.size() == packed.ids.size());
    std::vector<std::pair<std::size_t, std::int32_t>> got;
    for (std::size_t i = 0; i < packed.targets.size(); ++i)
      if (packed.targets[i] != -1) got.emplace_back(i, packed.targets[i]);
    CHECK(got == scored);
    CHECK(packed.ignored == by_padding);
  }
}

}  // namespace
