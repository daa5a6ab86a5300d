#include <doctest/doctest.h>

#include <array>
#include <string>
#include <vector>

#include <attune/data/masked_language_modeling.hpp>
#include <attune/data/text_classification.hpp>
#include <attune/data/token_classification.hpp>
#include <attune/text/bert_tokenizer.hpp>

TEST_CASE("the datasets take a BertTokenizer") {
  const auto tokenizer = attune::BertTokenizer::from_vocab(
      {"[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "good", "film", "##s", "bad", "is"});
  const std::array<std::int64_t, 1> first{0};

  const attune::TextExample examples[] = {{"Good films", "bad film", "1"}};
  const attune::TextClassificationDataset classes(tokenizer, examples, {.max_length = 7});
  const attune::Batch pair = classes.batch(first);
  CHECK(pair.input_ids == std::vector<std::int32_t>{2, 5, 6, 3, 8, 6, 3});
  CHECK(pair.token_type_ids == std::vector<std::int32_t>{0, 0, 0, 0, 1, 1, 1});
  CHECK(classes.truncated_rows() == 1);

  const attune::TokenClassificationDataset tags(
      tokenizer, std::vector<attune::TaggedSentence>{{{"films", "is", "GOOD"}, {"N", "V", "A"}}},
      {.labels = {"N", "V", "A"}});
  const attune::Batch tagged = tags.batch(first);
  CHECK(tagged.input_ids == std::vector<std::int32_t>{2, 6, 7, 9, 5, 3});
  CHECK(tagged.labels == std::vector<std::int32_t>{-100, 0, -100, 1, 2, -100});

  const attune::MaskedLanguageModelingDataset lines(
      tokenizer, std::vector<std::string>{"good"},
      {.masking = {.mlm_probability = 1, .mask_replace_prob = 1, .random_replace_prob = 0}});
  const attune::Batch masked = lines.batch(first);
  CHECK(masked.input_ids == std::vector<std::int32_t>{2, 4, 3});
  CHECK(masked.labels == std::vector<std::int32_t>{-100, 5, -100});
}
