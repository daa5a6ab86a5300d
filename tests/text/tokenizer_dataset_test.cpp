#include <string>
#include <vector>

#include <doctest/doctest.h>

#include <attune/core/error.hpp>
#include <attune/data/masked_language_modeling.hpp>
#include <attune/data/text_classification.hpp>
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
