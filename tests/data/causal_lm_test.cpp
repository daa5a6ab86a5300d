#include <attune/core/random.hpp>
#include <attune/data/causal_lm.hpp>
#include <attune/data/data_loader.hpp>
#include <attune/data/packing.hpp>
#include <attune/data/samplers.hpp>

#include <doctest/doctest.h>

#include <algorithm>
#include <numeric>
#include <set>
#include <string>
#include <vector>

#include "character_tokenizer.hpp"

using namespace attune;
using attune_test::CharacterTokenizer;

TEST_CASE("texts are joined with the end token and cut into blocks") {
  const std::vector<std::string> texts = {"abc", "defghi"};
  const TextEncoder tokenizer = CharacterTokenizer();
  const auto dataset = CausalLmDataset::from_texts(tokenizer, texts, {.block_size = 4});
  REQUIRE(dataset.size() == 3);
  CHECK(dataset.row(0).ids == std::vector<std::int32_t>{'a', 'b', 'c', 2});
  CHECK(dataset.row(1).ids == std::vector<std::int32_t>{'d', 'e', 'f', 'g'});
  CHECK(dataset.row(0).labels == dataset.row(0).ids);
  CHECK(dataset.lengths() == std::vector<std::int32_t>{4, 4, 2});
}

TEST_CASE("a block's end") {
  const std::vector<std::string> texts = {"abcdef", "xyz"};
  const TextEncoder tokenizer = CharacterTokenizer();
  const auto lengths = [&](const TextBlockOptions& options) {
    return CausalLmDataset::from_texts(tokenizer, texts, options).lengths();
  };
  CHECK(lengths({.block_size = 4}) == std::vector<std::int32_t>{4, 4, 2});
  CHECK(lengths({.block_size = 4, .drop_last = true}) == std::vector<std::int32_t>{4, 4});
  // Each on its own: [CLS] is added, 7 and 4 tokens.
  CHECK(lengths({.block_size = 5, .join_texts = false}) == std::vector<std::int32_t>{5, 2, 4});
  CHECK_THROWS_WITH_AS(lengths({.block_size = 1}),
                       doctest::Contains("block_size must be at least 2, found 1"), ConfigError);
  CHECK_THROWS_WITH_AS(lengths({.block_size = 100, .drop_last = true}),
                       doctest::Contains("give no block of 100"), ConfigError);
  CHECK_THROWS_WITH_AS(CausalLmDataset::from_texts(CharacterTokenizer{.special = false}, texts, {}),
                       doctest::Contains("no end-of-text token"), ConfigError);
}

TEST_CASE("a batch holds the rows as sequences with labels") {
  const CausalLmDataset dataset(
      {{{5, 6, 7}, {ignore_index, 6, 7}}, {{8, 9}, {8, 9}}, {{1, 2}, {1, ignore_index}}});
  CHECK(dataset.trained_tokens() == 3);
  const std::vector<std::int64_t> rows = {1, 0};
  const Batch batch = dataset.batch(rows);
  CHECK(batch.input_ids == std::vector<std::int32_t>{8, 9, 5, 6, 7});
  CHECK(batch.labels == std::vector<std::int32_t>{8, 9, ignore_index, 6, 7});
  CHECK(batch.segments == Segments::from_lengths(std::vector<std::int32_t>{2, 3}));
  CHECK(batch.rows == rows);
  // The label of a first token counts for nothing: there is nothing before it.
  const std::vector<std::int64_t> untrained = {2};
  CHECK_THROWS_WITH_AS(dataset.batch(untrained), doctest::Contains("no token of rows 2 is to be learned"),
                       ConfigError);
  const std::vector<std::int64_t> mixed = {2, 1}, outside = {3};
  CHECK(dataset.batch(mixed).size() == 2);
  CHECK_THROWS_AS(dataset.batch(outside), ConfigError);
  CHECK(dataset.select(mixed).row(1).ids == std::vector<std::int32_t>{8, 9});
  const std::vector<TokenRow> none, uneven = {TokenRow{{1, 2}, {1}}}, empty = {TokenRow{}};
  for (const std::vector<TokenRow>& bad : {none, uneven, empty}) CHECK_THROWS_AS(CausalLmDataset{bad}, ConfigError);
}

TEST_CASE("best-fit decreasing by hand") {
  const std::vector<std::int32_t> lengths = {3, 7, 5, 2, 12, 4, 1};
  // 12 alone; 7 + 3; 5 + 4 + 1; 2
  CHECK(pack_best_fit(lengths, 10) == std::vector<std::vector<std::int64_t>>{{4}, {0, 1}, {2, 5, 6}, {3}});
  CHECK(pack_best_fit({}, 10).empty());
  CHECK_THROWS_AS(pack_best_fit(lengths, 0), ConfigError);
}

TEST_CASE("packing loses no row, keeps the capacity and fills groups well") {
  RandomStream random(7, 0);
  std::vector<std::int32_t> lengths;
  std::int64_t total = 0;
  for (int i = 0; i < 20000; ++i) {
    lengths.push_back(static_cast<std::int32_t>(1 + random.below(300)));
    total += lengths.back();
  }
  const auto groups = pack_best_fit(lengths, 512);
  std::set<std::int64_t> seen;
  for (const auto& group : groups) {
    std::int64_t length = 0;
    for (const std::int64_t row : group) {
      CHECK(seen.insert(row).second);
      length += lengths[static_cast<std::size_t>(row)];
    }
    CHECK(length <= 512);
  }
  CHECK(seen.size() == lengths.size());
  CHECK(static_cast<double>(groups.size()) < 1.01 * static_cast<double>(total) / 512 + 1);
}

TEST_CASE("a packed dataset gives the same sequences, many in a row") {
  std::vector<TokenRow> rows;
  for (std::int32_t i = 1; i <= 20; ++i) {
    TokenRow row;
    for (std::int32_t t = 0; t < 1 + i % 7; ++t) row.ids.push_back(100 * i + t);
    row.labels = row.ids;
    rows.push_back(row);
  }
  const CausalLmDataset dataset(rows);
  const PackedDataset packed(dataset, 8);
  CHECK(packed.size() < dataset.size());
  CHECK(packed.trained_tokens() == dataset.trained_tokens());
  CHECK(std::accumulate(packed.lengths().begin(), packed.lengths().end(), 0) ==
        std::accumulate(dataset.lengths().begin(), dataset.lengths().end(), 0));
  std::set<std::int64_t> seen;
  DataLoader loader(packed, RandomSampler(packed.size(), 3), {.batch_size = 2});
  for (const Batch& batch : loader) {
    CHECK(batch.tokens() <= 16);
    for (std::int64_t s = 0; s < batch.size(); ++s) {
      const std::int64_t row = batch.rows[static_cast<std::size_t>(s)];
      CHECK(seen.insert(row).second);
      const auto begin = static_cast<std::size_t>(batch.segments.offsets()[static_cast<std::size_t>(s)]);
      const auto length = static_cast<std::size_t>(batch.segments.length(s));
      CHECK(std::vector<std::int32_t>(batch.input_ids.begin() + static_cast<std::ptrdiff_t>(begin),
                                      batch.input_ids.begin() + static_cast<std::ptrdiff_t>(
                                                                    begin + length)) == dataset.row(row).ids);
      CHECK(batch.segments.positions()[begin] == 0);
    }
  }
  CHECK(seen.size() == 20);
  const std::vector<std::int64_t> outside = {packed.size()};
  CHECK_THROWS_AS(packed.batch(outside), ConfigError);
  CHECK_THROWS_AS(PackedDataset(dataset, 0), ConfigError);
}
