#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <attune/core/batch.hpp>
#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>
#include <attune/data/text_encoder.hpp>
#include <attune/data/token_classification_options.hpp>

namespace attune {

/// Sentences whose words have a tag each: named entities, parts of speech. The first token of a word is
/// labelled with the word's tag, its other tokens and the special tokens with ignore_index, as Hugging Face's
/// run_ner does.
///
/// A value that is cheap to copy: copies share their rows.
class TokenClassificationDataset {
 public:
  /// Reads JSON lines (extensions .jsonl, .ndjson, .json: {"tokens": [...], "tags": [...]}) or else CoNLL
  /// columns: a word a line, columns between spaces or tabs, a blank line after each sentence, lines of
  /// -DOCSTART- passed over. Throws IoError, and FormatError naming file and line.
  TokenClassificationDataset(TextEncoder tokenizer, const std::string& file,
                             const TokenClassificationOptions& options = {});
  /// Throws ConfigError naming the sentence that is malformed.
  TokenClassificationDataset(TextEncoder tokenizer, std::vector<TaggedSentence> sentences,
                             const TokenClassificationOptions& options = {});

  std::int64_t size() const;
  /// Sequences of tokens with a label for each token (N). Throws ConfigError for a row that does not exist.
  Batch batch(std::span<const std::int64_t> rows, std::uint64_t epoch = 0) const;

  /// Tokens of each row after truncation. Made on all threads when first asked for, then kept.
  const std::vector<std::int32_t>& lengths() const;
  std::int64_t truncated_rows() const;
  /// Bad sentences that were left out (BadRows::skip).
  std::int64_t skipped_rows() const;

  /// The tags' names by id.
  const std::vector<std::string>& id2label() const;
  std::int64_t num_labels() const;
  const std::vector<std::string>& words(std::int64_t row) const;
  /// The ids of the words' tags.
  const std::vector<std::int32_t>& tag_ids(std::int64_t row) const;

  /// The given rows, in that order, as a dataset with the same labels and options.
  TokenClassificationDataset select(std::span<const std::int64_t> rows) const;

 private:
  struct Rows;
  explicit TokenClassificationDataset(std::shared_ptr<Rows> rows);
  std::shared_ptr<Rows> rows_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/data/token_classification.inl.hpp>
#endif
