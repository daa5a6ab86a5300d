#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <attune/data/table.hpp>

namespace attune {

struct TokenClassificationOptions {
  /// The tags' names in the order of their ids. Empty: all that occur, sorted by their bytes.
  std::vector<std::string> labels = {};
  /// CoNLL: the number of the word's column; unset, the first. JSON lines: the key of the list of words;
  /// unset, "tokens" or "words".
  std::optional<Column> token_column = {};
  /// CoNLL: the number of the tag's column; unset, the last. JSON lines: the key of the list of tags; unset,
  /// "tags", "ner_tags" or "labels".
  std::optional<Column> tag_column = {};
  /// The most tokens of a row, special tokens included; 0 for no limit. Words that are cut off have no label.
  std::int64_t max_length = 512;
  /// Sentences that are malformed or hold a tag that is not one of `labels`.
  BadRows bad_rows = BadRows::error;
};

/// A sentence that comes as words with a tag each.
struct TaggedSentence {
  std::vector<std::string> words;
  std::vector<std::string> tags;
};

}  // namespace attune
