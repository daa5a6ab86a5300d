#include <doctest/doctest.h>

#include <array>
#include <numeric>
#include <optional>
#include <string>
#include <vector>

#include <attune/data/data_loader.hpp>
#include <attune/data/text_classification.hpp>

#include "data/support.hpp"

using attune::BadRows;
using attune::Batch;
using attune::LabelKind;
using attune::TextClassificationDataset;
using attune::TextClassificationOptions;
using attune_test::contains;
using attune_test::message_of;
using attune_test::PieceTokenizer;
using attune_test::TemporaryFile;

namespace {

const PieceTokenizer tokenizer;

std::string refusal(const std::string& name, const std::string& content,
                    const TextClassificationOptions& options) {
  const TemporaryFile file(name, content);
  return message_of<attune::FormatError>([&] { TextClassificationDataset(tokenizer, file.path(), options); });
}

std::int32_t piece(char letter) { return 10 + letter; }

}  // namespace

TEST_CASE("sentence TAB label without a header: the label column is the one whose values are all labels") {
  const TemporaryFile file("train.tsv", "good film\t1\nbad\t0\n\ngreat\t1\n");
  const TextClassificationDataset dataset(tokenizer, file.path(), {.labels = {"0", "1"}, .max_length = 128});
  REQUIRE(dataset.size() == 3);
  CHECK(dataset.text(0) == "good film");
  CHECK(dataset.label_ids() == std::vector<std::int32_t>{1, 0, 1});
  CHECK(dataset.id2label() == std::vector<std::string>{"0", "1"});
  CHECK(dataset.num_labels() == 2);
  CHECK(dataset.lengths() == std::vector<std::int32_t>{6, 3, 4});
  CHECK(dataset.truncated_rows() == 0);
  CHECK(dataset.class_weights() == std::vector<float>{1.5f, 0.75f});

  const Batch batch = dataset.batch(std::array<std::int64_t, 2>{1, 0});
  CHECK(batch.input_ids ==
        std::vector<std::int32_t>{1, piece('b'), 2, 1, piece('g'), piece('d'), piece('f'), piece('m'), 2});
  CHECK(batch.segments == attune::Segments::from_lengths(std::vector<std::int32_t>{3, 6}));
  CHECK(batch.labels == std::vector<std::int32_t>{0, 1});
  CHECK(batch.rows == std::vector<std::int64_t>{1, 0});
  CHECK(batch.token_type_ids.empty());
  CHECK(batch.targets.empty());
  CHECK_THROWS_AS(dataset.batch(std::array<std::int64_t, 1>{3}), attune::ConfigError);
  CHECK_THROWS_AS(dataset.text(-1), attune::ConfigError);
}

TEST_CASE("label TAB text, CSV with a header, JSON lines: the same rows") {
  const TemporaryFile tsv("a.tsv", "ham\thi, you\nspam\t\"win\n");
  const TemporaryFile csv("a.csv", "label,review\nham,\"hi, you\"\nspam,\"\"\"win\"\n");
  const TemporaryFile jsonl("a.jsonl",
                            "{\"id\": 7, \"text\": \"hi, you\", \"label\": \"ham\"}\n"
                            "{\"text\": \"\\\"win\", \"label\": \"spam\"}\n");
  const std::vector<std::string> names{"ham", "spam"};
  for (const auto& dataset :
       {TextClassificationDataset(tokenizer, tsv.path(), {.labels = names}),
        TextClassificationDataset(tokenizer, tsv.path(), {.text_column = 1, .label_column = 0}),
        TextClassificationDataset(tokenizer, csv.path(), {.header = true}),
        TextClassificationDataset(tokenizer, csv.path(), {.labels = names, .header = true}),
        TextClassificationDataset(tokenizer, csv.path(), {.text_column = "review", .label_column = "label"}),
        TextClassificationDataset(tokenizer, jsonl.path()),
        TextClassificationDataset(tokenizer, jsonl.path(), {.labels = names})}) {
    REQUIRE(dataset.size() == 2);
    CHECK(dataset.text(0) == "hi, you");
    CHECK(dataset.text(1) == "\"win");
    CHECK(dataset.label_ids() == std::vector<std::int32_t>{0, 1});
    CHECK(dataset.id2label() == names);
  }
}

TEST_CASE("labels are discovered in sorted order, or numbered as they are given") {
  const TemporaryFile file("a.tsv", "x\tpos\ny\tneg\nz\tneutral\n");
  CHECK(TextClassificationDataset(tokenizer, file.path(), {.label_column = 1}).id2label() ==
        std::vector<std::string>{"neg", "neutral", "pos"});
  CHECK(
      TextClassificationDataset(tokenizer, file.path(), {.labels = {"pos", "neutral", "neg"}}).label_ids() ==
      std::vector<std::int32_t>{0, 2, 1});
}

TEST_CASE("an empty field is no label that could be discovered: its row is a bad one") {
  const std::string content = "x\tpos\ny\t\nz\tneg\n";
  CHECK(contains(refusal("a.tsv", content, {.label_column = 1}),
                 "line 2: expected a label, found an empty field"));
  const TemporaryFile file("a.tsv", content);
  const TextClassificationDataset kept(tokenizer, file.path(),
                                       {.label_column = 1, .bad_rows = BadRows::skip});
  CHECK(kept.id2label() == std::vector<std::string>{"neg", "pos"});
  CHECK(kept.size() == 2);
  CHECK(kept.skipped_rows() == 1);
}

TEST_CASE("files whose columns or labels are not clear: each with its error") {
  const std::vector<std::string> binary{"0", "1"};
  CHECK(contains(refusal("a.tsv", "0\t1\n1\t1\n", {.labels = binary}),
                 "columns 0, 1 all hold nothing but labels"));
  CHECK(contains(refusal("a.tsv", "a\t1\nb\t2\n", {.labels = binary}),
                 "line 2: no column holds nothing but the labels '0', '1'; column 1 comes nearest, but here "
                 "it holds '2'"));
  CHECK(contains(refusal("a.csv", "text,label\na,1\nb,0\n", {.labels = binary}), "(is this line a header?)"));
  CHECK(contains(refusal("a.tsv", "a\tb\t1\n", {.labels = binary}),
                 "say with text_column which of the columns 0, 1"));
  CHECK(contains(refusal("a.tsv", "1\n0\n", {.labels = binary}), "no column is left for the text"));
  CHECK(contains(refusal("a.tsv", "a\t1\n", {}), "no column is named 'label'"));
  CHECK(contains(refusal("a.tsv", "a\t1\nb\t2\n", {.labels = binary, .label_column = 1}),
                 "line 2: expected one of the labels '0', '1', found '2'"));
  CHECK(contains(refusal("a.tsv", "a\t1\n", {.labels = binary, .label_column = 2}), "expected column 2"));
  CHECK(contains(refusal("a.jsonl", "{\"text\": \"a\", \"label\": 1}\n\n{\"text\": \"b\"}\n", {}),
                 "line 3: expected a value for 'label'"));
  CHECK(contains(refusal("a.csv", "label,text\n1\n", {.header = true}), "line 2: expected 2 fields"));
  const TemporaryFile file("a.tsv", "a\t1\n");
  const auto config_error = [&](const TextClassificationOptions& options) {
    return message_of<attune::ConfigError>(
        [&] { TextClassificationDataset(tokenizer, file.path(), options); });
  };
  CHECK(contains(config_error({.labels = {"0", "0"}}), "'0' occurs twice"));
  CHECK(contains(config_error({.text_column = 1, .label_column = 1}), "must be different"));
  CHECK(contains(config_error({.labels = binary, .max_length = -1}), "max_length"));
  CHECK(contains(config_error({.labels = binary, .label_separator = ""}), "label_separator"));
  CHECK(contains(config_error({.labels = binary, .label_kind = LabelKind::regression}), "regression"));
  CHECK_THROWS_AS(TextClassificationDataset(tokenizer, "/nowhere.tsv"), attune::IoError);
}

TEST_CASE("skipped rows are counted") {
  const TemporaryFile file("a.tsv", "a\t1\nbroken\nb\t?\nc\t0\nd\t1\n");
  const TextClassificationDataset dataset(tokenizer, file.path(),
                                          {.labels = {"0", "1"}, .bad_rows = BadRows::skip});
  CHECK(dataset.size() == 3);
  CHECK(dataset.skipped_rows() == 2);
  CHECK(dataset.text(1) == "c");
  CHECK(contains(
      refusal("a.tsv", "a\t1\nb\t1\n", {.labels = {"x"}, .label_column = 1, .bad_rows = BadRows::skip}),
      "expected at least one good row"));
}

TEST_CASE("pairs, token types and truncation") {
  const TemporaryFile file("a.tsv", "one two\tthree\t1\nfour\tfive\t0\n");
  const TextClassificationDataset dataset(
      tokenizer, file.path(), {.labels = {"0", "1"}, .text_column = 0, .pair_column = 1, .max_length = 6});
  CHECK(dataset.has_pairs());
  CHECK(dataset.pair(1) == "five");
  CHECK(dataset.lengths() == std::vector<std::int32_t>{6, 6});
  CHECK(dataset.truncated_rows() == 2);
  const Batch batch = dataset.batch(std::array<std::int64_t, 1>{0});
  CHECK(batch.token_type_ids == std::vector<std::int32_t>{0, 0, 0, 0, 1, 1});
  CHECK(TextClassificationDataset(tokenizer, file.path(),
                                  {.labels = {"0", "1"}, .text_column = 0, .pair_column = 1, .max_length = 0})
            .truncated_rows() == 0);
}

TEST_CASE("several labels a row become targets") {
  const TemporaryFile tsv("a.tsv", "x\tred, blue\ny\t\nz\tgreen\n");
  const TemporaryFile jsonl(
      "a.jsonl",
      "{\"text\": \"x\", \"labels\": [\"red\", \"blue\"]}\n{\"text\": \"y\", \"labels\": []}\n"
      "{\"text\": \"z\", \"labels\": \"green\"}\n");
  for (const auto& dataset :
       {TextClassificationDataset(tokenizer, tsv.path(), {.label_column = 1, .label_kind = LabelKind::multi}),
        TextClassificationDataset(tokenizer, tsv.path(),
                                  {.labels = {"blue", "green", "red"}, .label_kind = LabelKind::multi}),
        TextClassificationDataset(tokenizer, jsonl.path(), {.label_kind = LabelKind::multi})}) {
    CHECK(dataset.id2label() == std::vector<std::string>{"blue", "green", "red"});
    CHECK(dataset.num_labels() == 3);
    CHECK(dataset.targets() == std::vector<float>{1, 0, 1, 0, 0, 0, 0, 1, 0});
    const Batch batch = dataset.batch(std::array<std::int64_t, 2>{2, 0});
    CHECK(batch.targets == std::vector<float>{0, 1, 0, 1, 0, 1});
    CHECK(batch.labels.empty());
    CHECK_THROWS_AS(dataset.class_weights(), attune::ConfigError);
    CHECK(dataset.select(std::array<std::int64_t, 1>{2}).targets() == std::vector<float>{0, 1, 0});
  }
  CHECK(contains(
      refusal("a.tsv", "x\tred;pink\n",
              {.labels = {"red"}, .label_column = 1, .label_kind = LabelKind::multi, .label_separator = ";"}),
      "found 'pink'"));
}

TEST_CASE("regression") {
  const TemporaryFile file("a.csv", "text,label\nx, 0.5\ny,-3\n");
  const TextClassificationDataset dataset(tokenizer, file.path(),
                                          {.header = true, .label_kind = LabelKind::regression});
  CHECK(dataset.targets() == std::vector<float>{0.5f, -3.0f});
  CHECK(dataset.num_labels() == 1);
  CHECK(dataset.id2label().empty());
  CHECK(dataset.batch(std::array<std::int64_t, 2>{1, 0}).targets == std::vector<float>{-3.0f, 0.5f});
  for (const char* value : {"abc", "", "1.5x", "nan", "inf", "1e99"}) {
    CAPTURE(value);
    CHECK(contains(refusal("a.csv", std::string("text,label\nx,0\ny,") + value + "\n",
                           {.header = true, .label_kind = LabelKind::regression}),
                   "line 3: expected a finite number"));
  }
}

TEST_CASE("any range of {text, pair, label} is a dataset") {
  struct Sentence {
    std::string_view text;
    int label;
  };
  const std::vector<Sentence> sentences{{"a", 1}, {"b", 0}, {"c", 1}};
  const TextClassificationDataset plain(tokenizer, sentences);
  CHECK(plain.label_ids() == std::vector<std::int32_t>{1, 0, 1});
  CHECK(plain.id2label() == std::vector<std::string>{"0", "1"});
  CHECK_FALSE(plain.has_pairs());

  const attune::TextExample pairs[] = {{"a", "b", "yes"}, {"c", "d", "no"}};
  const TextClassificationDataset paired(tokenizer, pairs, {.labels = {"yes", "no"}});
  CHECK(paired.pair(1) == "d");
  CHECK(paired.label_ids() == std::vector<std::int32_t>{0, 1});

  struct Rated {
    const char* text;
    double label;
  };
  const TextClassificationDataset rated(tokenizer, std::vector<Rated>{{"a", 0.1}},
                                        {.label_kind = LabelKind::regression});
  CHECK(rated.targets() == std::vector<float>{0.1f});

  CHECK_THROWS_WITH_AS(TextClassificationDataset(tokenizer, sentences, {.labels = {"1"}}),
                       "TextClassificationDataset: example 1: expected one of the labels '1', found '0'",
                       attune::ConfigError);
  CHECK_THROWS_AS(TextClassificationDataset(tokenizer, std::vector<Sentence>{}), attune::ConfigError);
}

TEST_CASE("select and split") {
  std::vector<attune::TextExample> examples;
  for (int row = 0; row < 10; ++row)
    examples.push_back({"text" + std::to_string(row), "", row % 2 == 0 ? "even" : "odd"});
  const TextClassificationDataset dataset(tokenizer, examples);
  const attune::Split split = attune::every_kth_split(dataset.size(), 5);
  const TextClassificationDataset train = dataset.select(split.train),
                                  held_out = dataset.select(split.validation);
  CHECK(train.size() == 8);
  CHECK(held_out.text(0) == "text4");
  CHECK(held_out.text(1) == "text9");
  CHECK(held_out.label_ids() == std::vector<std::int32_t>{0, 1});
  CHECK(held_out.id2label() == dataset.id2label());
  CHECK_THROWS_AS(dataset.select(std::array<std::int64_t, 1>{10}), attune::ConfigError);
}

TEST_CASE("real files: SST-2, SMS spam, ChnSentiCorp") {
  const std::string data = std::string(ATTUNE_SOURCE_DIR) + "/../shared/data/";
  if (!std::filesystem::exists(data + "sst2")) {
    MESSAGE("skipped: no data in " << data);
    return;
  }
  const TextClassificationDataset sst2(tokenizer, data + "sst2/train.tsv",
                                       {.labels = {"0", "1"}, .max_length = 128});
  CHECK(sst2.size() == 6920);
  CHECK(std::accumulate(sst2.label_ids().begin(), sst2.label_ids().end(), 0) == 3610);
  attune::DataLoader loader(sst2, attune::RandomSampler(sst2.size(), /*seed=*/42), {.batch_size = 16});
  CHECK(loader.size() == 433);
  std::int64_t rows = 0;
  for (const auto& batch : loader) rows += batch.size();
  CHECK(rows == 6920);

  const TextClassificationDataset sms(tokenizer, data + "sms_spam/sms_spam.tsv", {.labels = {"ham", "spam"}});
  CHECK(sms.size() == 5574);
  CHECK(std::accumulate(sms.label_ids().begin(), sms.label_ids().end(), 0) == 747);

  const TextClassificationDataset chn(tokenizer, data + "chnsenticorp/ChnSentiCorp_htl_all.csv",
                                      {.header = true});
  CHECK(chn.size() == 7766);
  CHECK(contains(chn.text(0), "\"\xE8\x94\xA1\xE9\x99\x86\xE7\xBA\xBF\""));
}
