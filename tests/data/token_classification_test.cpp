#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include <attune/data/token_classification.hpp>

#include "data/support.hpp"

using attune::BadRows;
using attune::Batch;
using attune::TaggedSentence;
using attune::TokenClassificationDataset;
using attune::TokenClassificationOptions;
using attune_test::contains;
using attune_test::message_of;
using attune_test::PieceTokenizer;
using attune_test::TemporaryFile;

namespace {
const PieceTokenizer tokenizer;
constexpr std::int32_t out = attune::ignore_index;
}  // namespace

TEST_CASE("CoNLL columns: document marks, blank lines, tabs and spaces, CRLF") {
  const TemporaryFile file(
      "a.conll", "-DOCSTART- -X- O O\n\nParis NNP I-NP B-LOC\r\nis\tVBZ  I-VP\tO\n\n\nAnna NNP I-NP B-PER");
  const TokenClassificationDataset dataset(tokenizer, file.path());
  REQUIRE(dataset.size() == 2);
  CHECK(dataset.words(0) == std::vector<std::string>{"Paris", "is"});
  CHECK(dataset.id2label() == std::vector<std::string>{"B-LOC", "B-PER", "O"});
  CHECK(dataset.tag_ids(0) == std::vector<std::int32_t>{0, 2});
  CHECK(dataset.tag_ids(1) == std::vector<std::int32_t>{1});
  const TokenClassificationDataset chunks(tokenizer, file.path(), {.token_column = 1, .tag_column = 2});
  CHECK(chunks.words(0) == std::vector<std::string>{"NNP", "VBZ"});
  CHECK(chunks.id2label() == std::vector<std::string>{"I-NP", "I-VP"});
}

TEST_CASE("the first token of a word has the word's label, all others ignore_index") {
  const TokenClassificationDataset dataset(
      tokenizer,
      std::vector<TaggedSentence>{{{"Amsterdam", "is", "big"}, {"B-LOC", "O", "O"}}, {{"Bob"}, {"B-PER"}}},
      {.labels = {"O", "B-LOC", "B-PER"}, .max_length = 6});
  const Batch batch = dataset.batch(std::array<std::int64_t, 2>{1, 0});
  CHECK(batch.labels == std::vector<std::int32_t>{out, 2, out, out, 1, out, out, 0, out});
  CHECK(batch.segments == attune::Segments::from_lengths(std::vector<std::int32_t>{3, 6}));
  CHECK(dataset.lengths() == std::vector<std::int32_t>{6, 3});
  CHECK(dataset.truncated_rows() == 1);  // "big" was cut off, and its label with it
  const TokenClassificationDataset chosen = dataset.select(std::array<std::int64_t, 1>{1});
  CHECK(chosen.words(0) == std::vector<std::string>{"Bob"});
  CHECK(chosen.num_labels() == 3);
}

TEST_CASE("JSON lines of words and tags") {
  for (const std::string content :
       {"{\"tokens\": [\"a\", \"b\"], \"tags\": [\"O\", \"X\"]}\n",
        "{\"words\": [\"a\", \"b\"], \"ner_tags\": [\"O\", \"X\"], \"id\": 3}\n"}) {
    const TemporaryFile file("a.jsonl", content);
    const TokenClassificationDataset dataset(tokenizer, file.path());
    CHECK(dataset.words(0) == std::vector<std::string>{"a", "b"});
    CHECK(dataset.tag_ids(0) == std::vector<std::int32_t>{0, 1});
  }
}

TEST_CASE("malformed files: a typed error with file and line, or a counted sentence") {
  struct Case {
    const char* name;
    std::string content;
    std::int64_t line;
    const char* says;
    TokenClassificationOptions options = {};
    bool left = false;  // something is left when bad sentences are skipped
  };
  using namespace std::string_literals;
  const std::vector<Case> cases = {
      {"a.conll", "", -1, "found none"},
      {"a.conll", "\n\n-DOCSTART- O\n", -1, "found none"},
      {"a.conll", "a O\nb\n\nc O", 2, "expected 2 columns, found 1", {}, true},
      {"a.conll", "a\n", 1, "expected 2 columns, found 1"},
      {"a.conll", "a O\n\nb X O", 3, "expected 2 columns, found 3", {}, true},
      {"a.conll", "a O\n\nc B-X\nb O", 3, "tag 'B-X' is not one of the 1 labels", {.labels = {"O"}}, true},
      {"a.conll", "a O\n", 1, "expected column 2 (counted from 0), found 2 columns", {.tag_column = 2}},
      {"a.conll", "a O\n\nb\0 O"s, 3, "zero byte", {}, true},
      {"a.conll",
       "\xFF\xFE"
       "a\0"s,
       1, "UTF-16"},
      {"a.jsonl",
       "{\"tokens\": [\"a\"], \"tags\": []}\n{\"tokens\": [\"a\"], \"tags\": [\"O\"]}",
       1,
       "expected a tag for each word, found 1 words and 0 tags",
       {},
       true},
      {"a.jsonl", "{\"tokens\": \"a\", \"tags\": [\"O\"]}", 1, "expected a list of strings for 'tokens'"},
      {"a.jsonl", "{\"tokens\": [\"a\"], \"tags\": [[\"O\"]]}", 1, "expected a list of strings for 'tags'"},
      {"a.jsonl", "{\"tokens\": [\"a\"], \"tags\": null}\n", 1, "expected column 'tags', found 'tokens'"},
      {"a.jsonl", "{\"tokens\": [\"a\"]}\n", 1, "expected column 'tags', found 'tokens'"},
      {"a.jsonl", "{\"tokens\": [\"a\"]", 1, "broken JSON"},
  };
  for (const Case& entry : cases) {
    CAPTURE(entry.content);
    const TemporaryFile file(entry.name, entry.content);
    try {
      TokenClassificationDataset(tokenizer, file.path(), entry.options);
      FAIL("accepted");
    } catch (const attune::FormatError& error) {
      CHECK(error.file == file.path());
      CHECK(error.offset == entry.line);
      CHECK(contains(error.what(), entry.says));
    }
    TokenClassificationOptions skip = entry.options;
    skip.bad_rows = BadRows::skip;
    if (!entry.left) {
      CHECK_THROWS_AS(TokenClassificationDataset(tokenizer, file.path(), skip), attune::FormatError);
    } else {
      const TokenClassificationDataset dataset(tokenizer, file.path(), skip);
      CHECK(dataset.size() == 1);
      CHECK(dataset.skipped_rows() == 1);
    }
  }
  CHECK_THROWS_AS(TokenClassificationDataset(tokenizer, std::vector<TaggedSentence>{}), attune::ConfigError);
  CHECK_THROWS_AS(TokenClassificationDataset(tokenizer, std::vector<TaggedSentence>{{{"a"}, {}}}),
                  attune::ConfigError);
  CHECK_THROWS_AS(TokenClassificationDataset(tokenizer, std::vector<TaggedSentence>{{{"a"}, {"O"}}},
                                             {.labels = {"O", "O"}}),
                  attune::ConfigError);
  const TemporaryFile file("a.conll", "a O\n");
  CHECK_THROWS_AS(TokenClassificationDataset(tokenizer, file.path(), {.tag_column = "tags"}),
                  attune::ConfigError);
}
