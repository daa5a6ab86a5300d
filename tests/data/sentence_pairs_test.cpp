#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include <attune/data/sentence_pairs.hpp>

#include "data/support.hpp"

using attune::Batch;
using attune::SentencePair;
using attune::SentencePairDataset;
using attune::SentencePairOptions;
using attune_test::contains;
using attune_test::message_of;
using attune_test::TemporaryFile;

namespace {
const attune_test::PieceTokenizer tokenizer;
}

TEST_CASE("a batch holds the first texts of all rows, then the second texts") {
  const TemporaryFile file("a.tsv", "a\tbcde\t0.5\nf g\th\t1\n");
  const SentencePairDataset dataset(tokenizer, file.path());
  REQUIRE(dataset.size() == 2);
  CHECK(dataset.has_scores());
  CHECK(dataset.lengths() == std::vector<std::int32_t>{7, 7});
  const Batch batch = dataset.batch(std::array<std::int64_t, 2>{1, 0});
  CHECK(batch.segments == attune::Segments::from_lengths(std::vector<std::int32_t>{4, 3, 3, 4}));
  CHECK(batch.rows == std::vector<std::int64_t>{1, 0, 1, 0});
  CHECK(batch.targets == std::vector<float>{1.0f, 0.5f});
  CHECK(batch.input_ids[1] == 10 + 'f');
  CHECK(batch.input_ids[8] == 10 + 'h');
  CHECK_THROWS_AS(dataset.batch(std::array<std::int64_t, 1>{2}), attune::ConfigError);
}

TEST_CASE("columns by name, by place or by option; scores are optional") {
  const TemporaryFile jsonl("a.jsonl",
                            "{\"score\": 0.25, \"sentence2\": \"b\", \"sentence1\": \"a\", \"id\": 4}\n");
  const SentencePairDataset by_name(tokenizer, jsonl.path());
  CHECK(by_name.pair(0).text1 == "a");
  CHECK(by_name.pair(0).text2 == "b");
  CHECK(by_name.pair(0).score == 0.25f);
  const TemporaryFile csv("a.csv", "query,answer,source\nq,a,web\n");
  const SentencePairDataset by_option(tokenizer, csv.path(),
                                      {.text1_column = "answer", .text2_column = "query"});
  CHECK(by_option.pair(0).text1 == "a");
  CHECK(by_option.pair(0).text2 == "q");
  CHECK_FALSE(by_option.has_scores());
  CHECK(by_option.batch(std::array<std::int64_t, 1>{0}).targets.empty());
  const TemporaryFile tsv("a.tsv", "one two\tthree four\n");
  const SentencePairDataset by_place(tokenizer, tsv.path(), {.max_length = 3});
  CHECK_FALSE(by_place.has_scores());
  CHECK(by_place.truncated_rows() == 1);
  CHECK(by_place.lengths() == std::vector<std::int32_t>{6});
}

TEST_CASE("pairs from memory, select, skipped rows") {
  const std::vector<SentencePair> pairs{{"a", "b", 0.0f}, {"c", "d", 0.75f}};
  const SentencePairDataset dataset(tokenizer, pairs);
  const SentencePairDataset second = dataset.select(std::array<std::int64_t, 1>{1});
  CHECK(second.size() == 1);
  CHECK(second.pair(0).text2 == "d");
  CHECK(second.batch(std::array<std::int64_t, 1>{0}).targets == std::vector<float>{0.75f});
  const TemporaryFile file("a.tsv", "a\tb\t1\nc\td\tx\n");
  const SentencePairDataset skipped(tokenizer, file.path(), {.bad_rows = attune::BadRows::skip});
  CHECK(skipped.size() == 1);
  CHECK(skipped.skipped_rows() == 1);
}

TEST_CASE("what is refused") {
  const auto refusal = [](const std::string& name, const std::string& content,
                          const SentencePairOptions& options) {
    const TemporaryFile file(name, content);
    return message_of<attune::FormatError>([&] { SentencePairDataset(tokenizer, file.path(), options); });
  };
  CHECK(contains(refusal("a.tsv", "a\tb\t1\nc\td\tx\n", {}),
                 "line 2: expected a finite number as score, found 'x'"));
  CHECK(contains(refusal("a.tsv", "a\n", {}), "expected column 1"));
  CHECK(contains(
      refusal("a.jsonl", "{\"sentence1\": \"a\", \"sentence2\": \"b\"}\n{\"sentence1\": \"c\"}\n", {}),
      "line 2: expected a value for 'sentence2'"));
  CHECK(contains(refusal("a.tsv", "a\tb\tx\n", {.bad_rows = attune::BadRows::skip}),
                 "expected at least one good row"));
  const TemporaryFile file("a.tsv", "a\tb\n");
  CHECK_THROWS_AS(SentencePairDataset(tokenizer, file.path(), {.text1_column = 1}), attune::ConfigError);
  CHECK_THROWS_AS(SentencePairDataset(tokenizer, file.path(), {.max_length = -1}), attune::ConfigError);
  CHECK_THROWS_AS(SentencePairDataset(tokenizer, std::vector<SentencePair>{}), attune::ConfigError);
  CHECK_THROWS_AS(SentencePairDataset(tokenizer, std::vector<SentencePair>{{"a", "b", 1.0f}, {"c", "d"}}),
                  attune::ConfigError);
}
