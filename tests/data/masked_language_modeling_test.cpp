#include <doctest/doctest.h>

#include <array>
#include <numeric>
#include <string>
#include <vector>

#include <attune/core/random.hpp>
#include <attune/data/data_loader.hpp>
#include <attune/data/masked_language_modeling.hpp>

#include "data/support.hpp"

using attune::Batch;
using attune::MaskedLanguageModelingDataset;
using attune::MaskingOptions;
using attune_test::contains;
using attune_test::message_of;
using attune_test::PieceTokenizer;
using attune_test::TemporaryFile;

namespace {

const PieceTokenizer tokenizer;

Batch long_batch(std::int64_t sequences, std::int32_t length) {
  Batch batch;
  for (std::int64_t sequence = 0; sequence < sequences; ++sequence) {
    batch.segments.append(length);
    batch.rows.push_back(sequence);
    for (std::int32_t token = 0; token < length; ++token)
      batch.input_ids.push_back(token == 0 ? 1 : token == length - 1 ? 2 : 100 + token % 26);
  }
  return batch;
}

}  // namespace

TEST_CASE("15 % of the ordinary tokens are to be predicted: 80 % [MASK], 10 % random, 10 % as they were") {
  const Batch original = long_batch(400, 502);
  Batch batch = original;
  attune::mask_tokens(batch, tokenizer, {.seed = 3}, /*epoch=*/0);
  REQUIRE(batch.labels.size() == batch.input_ids.size());
  double chosen = 0, masked = 0, same = 0, random = 0;
  for (std::size_t at = 0; at < batch.labels.size(); ++at) {
    if (batch.labels[at] == attune::ignore_index) {
      CHECK(batch.input_ids[at] == original.input_ids[at]);
      continue;
    }
    CHECK(batch.labels[at] == original.input_ids[at]);
    CHECK(original.input_ids[at] >= 10);  // no special token
    CHECK(batch.input_ids[at] >= 0);
    CHECK(batch.input_ids[at] < 300);
    ++chosen;
    if (batch.input_ids[at] == PieceTokenizer::mask)
      ++masked;
    else if (batch.input_ids[at] == original.input_ids[at])
      ++same;
    else
      ++random;
  }
  // 200,000 tokens: five standard deviations of a binomial.
  CHECK(chosen / 200000 == doctest::Approx(0.15).epsilon(0.004 / 0.15));
  CHECK(masked / chosen == doctest::Approx(0.8 + 0.1 / 300).epsilon(0.012 / 0.8));
  CHECK(random / chosen == doctest::Approx(0.1 * 298 / 300).epsilon(0.009 / 0.1));
  CHECK(same / chosen == doctest::Approx(0.1 + 0.1 / 300).epsilon(0.009 / 0.1));
}

TEST_CASE("the masking of a row depends on seed, epoch and row alone") {
  const Batch original = long_batch(4, 60);
  const auto masked = [&](std::uint64_t seed, std::uint64_t epoch) {
    Batch batch = original;
    attune::mask_tokens(batch, tokenizer, {.seed = seed}, epoch);
    return batch.input_ids;
  };
  CHECK(masked(1, 0) == masked(1, 0));
  CHECK(masked(1, 0) != masked(1, 1));
  CHECK(masked(1, 0) != masked(2, 0));

  std::vector<std::string> texts;
  for (int row = 0; row < 6; ++row)
    texts.push_back("the quick brown fox jumps over the lazy dog number " + std::to_string(row));
  const MaskedLanguageModelingDataset dataset(tokenizer, texts, {.masking = {.seed = 5}});
  const Batch together = dataset.batch(std::array<std::int64_t, 3>{2, 4, 1}, 7);
  const Batch alone = dataset.batch(std::array<std::int64_t, 1>{4}, 7);
  const auto begin = together.segments.offsets()[1], end = together.segments.offsets()[2];
  CHECK(std::vector<std::int32_t>(together.input_ids.begin() + begin, together.input_ids.begin() + end) ==
        alone.input_ids);
  CHECK(std::vector<std::int32_t>(together.labels.begin() + begin, together.labels.begin() + end) ==
        alone.labels);
}

TEST_CASE("through the loader every epoch is masked anew, and the same when it is run again") {
  std::vector<std::string> texts(8, "a b c d e f g h i j k l m n o p q r s t");
  const MaskedLanguageModelingDataset dataset(tokenizer, texts);
  const auto run = [&](attune::DataLoader& loader) {
    std::vector<std::int32_t> ids;
    for (const auto& batch : loader) ids.insert(ids.end(), batch.input_ids.begin(), batch.input_ids.end());
    return ids;
  };
  attune::DataLoader first(dataset, attune::SequentialSampler(8), {.batch_size = 3});
  attune::DataLoader second(dataset, attune::SequentialSampler(8), {.batch_size = 3, .prefetch = 0});
  const auto epoch0 = run(first), epoch1 = run(first);
  CHECK(epoch0 != epoch1);
  CHECK(run(second) == epoch0);
  CHECK(run(second) == epoch1);
}

TEST_CASE("each sequence with an ordinary token has one to predict; others are left alone") {
  const MaskedLanguageModelingDataset dataset(tokenizer, std::vector<std::string>{"a", "", "bc d"});
  const std::array<std::int64_t, 3> rows{0, 1, 2};
  for (std::uint64_t epoch = 0; epoch < 50; ++epoch) {
    const Batch batch = dataset.batch(rows, epoch);
    const auto count = [&](std::size_t sequence) {
      int predicted = 0;
      for (auto at = batch.segments.offsets()[sequence]; at < batch.segments.offsets()[sequence + 1]; ++at)
        predicted += batch.labels[static_cast<std::size_t>(at)] != attune::ignore_index;
      return predicted;
    };
    CHECK(count(0) == 1);
    CHECK(count(1) == 0);
    CHECK(count(2) >= 1);
  }
  Batch untouched = long_batch(2, 30);
  const Batch original = untouched;
  attune::mask_tokens(untouched, tokenizer, {.mlm_probability = 0}, 0);
  CHECK(untouched.input_ids == original.input_ids);
  Batch all = original;
  attune::mask_tokens(all, tokenizer,
                      {.mlm_probability = 1, .mask_replace_prob = 1, .random_replace_prob = 0}, 0);
  CHECK(std::count(all.input_ids.begin(), all.input_ids.end(), PieceTokenizer::mask) == 56);
}

TEST_CASE("lines of a file; what is refused") {
  const TemporaryFile file("a.txt", "\xEF\xBB\xBFone two\r\n\n  \nthree four five six\n");
  const MaskedLanguageModelingDataset dataset(tokenizer, file.path(), {.max_length = 6});
  REQUIRE(dataset.size() == 2);
  CHECK(dataset.text(0) == "one two");
  CHECK(dataset.lengths() == std::vector<std::int32_t>{4, 6});
  CHECK(dataset.truncated_rows() == 1);
  CHECK(dataset.select(std::array<std::int64_t, 1>{1}).text(0) == "three four five six");
  const TemporaryFile blank("b.txt", " \n\n");
  CHECK_THROWS_AS(MaskedLanguageModelingDataset(tokenizer, blank.path()), attune::FormatError);
  CHECK_THROWS_AS(MaskedLanguageModelingDataset(tokenizer, std::vector<std::string>{}), attune::ConfigError);
  for (const MaskingOptions& wrong :
       {MaskingOptions{.mlm_probability = 1.5}, MaskingOptions{.mlm_probability = -0.1},
        MaskingOptions{.mask_replace_prob = 0.8, .random_replace_prob = 0.3}})
    CHECK_THROWS_AS(MaskedLanguageModelingDataset(tokenizer, file.path(), {.masking = wrong}),
                    attune::ConfigError);
  struct Maskless {
    attune::Encoding encode(std::string_view, const attune::EncodeOptions&) const { return {}; }
  };
  CHECK(contains(
      message_of<attune::ConfigError>([&] { MaskedLanguageModelingDataset(Maskless(), file.path()); }),
      "no mask_token_id"));
}
