#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <attune/core/error.hpp>
#include <attune/data/masked_language_modeling.hpp>
#include <attune/data/text_classification.hpp>
#include <attune/data/token_classification.hpp>
#include <attune/text/auto_tokenizer.hpp>
#include <attune/text/tokenizer.hpp>

#include "support.hpp"

using namespace attune;

namespace {

Tokenizer fixture(const char* name) {
  return Tokenizer::from_pretrained(
      (std::filesystem::path(ATTUNE_SOURCE_DIR) / "tests/text/fixtures_tokenizer" / name).string());
}

}  // namespace

TEST_CASE("datasets take any tokenizer") {
  const Tokenizer roberta = fixture("roberta");
  const std::vector<TextExample> examples{{"good citizens", "", "1"}, {"Speak, speak.", "we know't", "0"}};
  const TextClassificationDataset dataset(roberta, examples, {.labels = {"0", "1"}, .max_length = 9});
  const std::vector<std::int64_t> rows{0, 1};
  const Batch batch = dataset.batch(rows);
  CHECK(batch.size() == 2);
  std::vector<std::int32_t> expected = roberta.encode_pair("good citizens", "", {.max_length = 9}).ids;
  const auto second = roberta.encode_pair("Speak, speak.", "we know't", {.max_length = 9}).ids;
  CHECK(second.size() == 9);
  expected.insert(expected.end(), second.begin(), second.end());
  CHECK(batch.input_ids == expected);
  CHECK(batch.labels == std::vector<std::int32_t>{1, 0});

  const MaskedLanguageModelingDataset masked(roberta,
                                             std::vector<std::string>(20, "before we proceed any further"));
  const std::vector<std::int64_t> all{0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
  int masks = 0;
  for (const std::int32_t id : masked.batch(all).input_ids) masks += id == roberta.mask_token_id() ? 1 : 0;
  CHECK(masks > 0);
  const std::vector<std::string> texts{"no mask token"};
  CHECK_THROWS_AS(MaskedLanguageModelingDataset(fixture("gpt2"), texts), ConfigError);
}

namespace {

/// Everything that AutoTokenizer passes on is what the tokenizer itself says.
template <class Own>
void check_passes_on(const std::string& directory) {
  INFO(directory);
  const auto tokenizer = AutoTokenizer::from_pretrained(directory);
  REQUIRE(std::holds_alternative<Own>(tokenizer.variant()));
  const Own own = Own::from_pretrained(directory);
  const EncodeOptions options{.max_length = 7};
  const std::vector<std::string> texts{"good citizens", "Speak, speak.", ""}, pairs{"we know't", "", "a b"};
  CHECK(tokenizer.encode(texts[0], options).ids == own.encode(texts[0], options).ids);
  CHECK(tokenizer.encode_pair(texts[0], pairs[0], options).ids ==
        own.encode_pair(texts[0], pairs[0], options).ids);
  CHECK(tokenizer.encode_words(texts, options).word_ids == own.encode_words(texts, options).word_ids);
  CHECK(tokenizer.encode_batch(texts, pairs)[2].ids == own.encode_pair(texts[2], pairs[2]).ids);
  const EncodedBatch packed = tokenizer.encode_packed(texts, {}, options);
  CHECK(packed.ids == own.encode_packed(texts, {}, options).ids);
  CHECK(tokenizer.decode(packed.row(1)) == own.decode(packed.row(1)));
  CHECK(tokenizer.vocab_size() == own.vocab_size());
  CHECK(tokenizer.mask_token_id() == own.mask_token_id());
  CHECK(tokenizer.model_max_length() == own.model_max_length());
  CHECK(tokenizer.is_special(own.mask_token_id()));
  CHECK_FALSE(tokenizer.is_special(packed.ids[1]));
  const text_test::TemporaryFolder saved;
  tokenizer.save_pretrained(saved.string());
  CHECK(Own::from_pretrained(saved.string()).encode(texts[0]).ids == own.encode(texts[0]).ids);
}

}  // namespace

TEST_CASE("AutoTokenizer is the tokenizer that the model type names") {
  const std::string uncased = (text_test::fixtures() / "uncased").string();
  check_passes_on<BertTokenizer>(uncased);  // a vocab.txt and no config.json
  check_passes_on<Tokenizer>(
      (std::filesystem::path(ATTUNE_SOURCE_DIR) / "tests/text/fixtures_tokenizer/roberta").string());
  const text_test::TemporaryFolder folder;
  BertTokenizer::from_pretrained(uncased).save_pretrained(folder.string());  // tokenizer.json and vocab.txt
  for (const char* type : {"bert", "distilbert"}) {
    text_test::write_file(folder / "config.json", std::string(R"({"model_type": ")") + type + "\"}");
    check_passes_on<BertTokenizer>(folder.string());
  }
  text_test::write_file(folder / "config.json", R"({"model_type": "xlm-roberta"})");
  CHECK(std::holds_alternative<Tokenizer>(AutoTokenizer::from_pretrained(folder.string()).variant()));
  std::filesystem::remove(folder / "tokenizer.json");
  CHECK(std::holds_alternative<BertTokenizer>(AutoTokenizer::from_pretrained(folder.string()).variant()));
  CHECK_THROWS_AS(AutoTokenizer::from_pretrained("nowhere"), IoError);

  const std::vector<TaggedSentence> sentences{{{"good", "citizens"}, {"A", "B"}}};
  const TokenClassificationDataset dataset(AutoTokenizer::from_pretrained(uncased), sentences, {});
  const std::vector<std::int64_t> rows{0};
  CHECK(dataset.batch(rows).size() == 1);
}
