#pragma once

#include <string>
#include <type_traits>
#include <vector>

#include <doctest/doctest.h>
#include <nlohmann/json.hpp>

#include <attune/core/error.hpp>
#include <attune/text/bert_tokenizer_options.hpp>
#include <attune/text/encoding.hpp>

namespace text_test {

using namespace attune;
using nlohmann::json;

// The cases that generate.py and generate_tokenizers.py write, one a line.

inline EncodeOptions options_of(const json& test) {
  const std::string truncation = test.value("truncation", "longest_first");
  return {.max_length = test.value("max_length", std::int64_t{0}),
          .truncation = truncation == "only_first"    ? Truncation::only_first
                        : truncation == "only_second" ? Truncation::only_second
                                                      : Truncation::longest_first,
          .add_special_tokens = !test.value("bare", false)};
}

template <class Tokenizer>
Encoding encode(const Tokenizer& tokenizer, const json& test) {
  const EncodeOptions options = options_of(test);
  if (test["text"].is_array())
    return tokenizer.encode_words(test["text"].get<std::vector<std::string>>(), options);
  const auto text = test["text"].get<std::string>();
  return test.contains("pair") ? tokenizer.encode_pair(text, test["pair"].get<std::string>(), options)
                               : tokenizer.encode(text, options);
}

template <class Tokenizer>
EncodedBatch encode_packed(const Tokenizer& tokenizer, const json& test) {
  const std::vector<std::string> texts{test["text"].get<std::string>()};
  std::vector<std::string> pairs;
  if (test.contains("pair")) pairs.push_back(test["pair"].get<std::string>());
  return tokenizer.encode_packed(texts, pairs, options_of(test));
}

/// Whether everything about the case is as expected.
template <class Tokenizer>
bool check_case(const Tokenizer& tokenizer, const json& test) {
  INFO(test.dump(-1, ' ', true));
  if (test.value("error", false)) {
    CHECK_THROWS_AS(encode(tokenizer, test), ConfigError);
    CHECK_THROWS_AS(encode_packed(tokenizer, test), ConfigError);
    return true;
  }
  const Encoding encoding = encode(tokenizer, test);
  std::vector<std::int32_t> offsets;
  for (const TextSpan& span : encoding.offsets) {
    offsets.push_back(span.begin);
    offsets.push_back(span.end);
  }
  bool right = true;
  const auto same = [&](const auto& found, const char* field) {
    const auto expected = test[field].get<std::decay_t<decltype(found)>>();
    INFO(field);
    CHECK(json(found) == json(expected));
    right = right && found == expected;
  };
  same(encoding.ids, "ids");
  same(encoding.type_ids, "types");
  same(offsets, "offsets");
  same(encoding.word_ids, "words");
  same(std::vector<int>(encoding.special_tokens_mask.begin(), encoding.special_tokens_mask.end()), "mask");
  same(encoding.truncated, "truncated");
  same(tokenizer.decode(encoding.ids), "decoded");
  same(tokenizer.decode(encoding.ids, {.skip_special_tokens = true}), "skipped");
  if (!test["text"].is_array()) {
    const EncodedBatch batch = encode_packed(tokenizer, test);
    same(batch.ids, "ids");
    same(batch.type_ids, "types");
    CHECK(batch.truncated_rows == (encoding.truncated ? 1 : 0));
  }
  return right;
}

}  // namespace text_test
