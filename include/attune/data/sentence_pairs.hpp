#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <attune/core/batch.hpp>
#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>
#include <attune/data/table.hpp>
#include <attune/data/text_encoder.hpp>

namespace attune {

struct SentencePairOptions {
  /// Unset: the columns "sentence1" and "sentence2" when the table has such names, else the first and the
  /// second.
  std::optional<Column> text1_column = {};
  std::optional<Column> text2_column = {};
  /// How alike the two are. Unset: the column "score" when there is one, or else the third of three columns
  /// when the texts' columns are unset, too; without any the rows have no scores, and each pair counts as a
  /// match (for a contrastive loss).
  std::optional<Column> score_column = {};
  TableFormat format = TableFormat::automatic;
  /// Whether the first row holds the column names. Unset: yes when a column is given by name.
  std::optional<bool> header = {};
  /// The most tokens of each text, special tokens included; 0 for no limit.
  std::int64_t max_length = 512;
  BadRows bad_rows = BadRows::error;
};

struct SentencePair {
  std::string text1;
  std::string text2;
  std::optional<float> score = {};
};

/// Pairs of sentences for training embeddings: the two are encoded as sequences of their own, not as one.
/// A value that is cheap to copy: copies share their rows.
class SentencePairDataset {
 public:
  /// Reads a TSV, CSV or JSON-lines file. Throws IoError, and FormatError naming file and line.
  SentencePairDataset(TextEncoder tokenizer, const std::string& file,
                      const SentencePairOptions& options = {});
  /// Throws ConfigError when there are none, or when some have a score and some have not.
  SentencePairDataset(TextEncoder tokenizer, std::vector<SentencePair> pairs,
                      const SentencePairOptions& options = {});

  std::int64_t size() const;
  /// 2 * B sequences: the first texts of all B rows, then the second texts in the same order, so that
  /// sequences b and B + b are a pair. `rows` has 2 * B entries; `targets` holds the B scores, if there are
  /// any. Throws ConfigError for a row that does not exist.
  Batch batch(std::span<const std::int64_t> rows, std::uint64_t epoch = 0) const;

  /// Tokens of both texts of each row together. Made on all threads when first asked for, then kept.
  const std::vector<std::int32_t>& lengths() const;
  /// How many rows lose tokens to max_length.
  std::int64_t truncated_rows() const;
  std::int64_t skipped_rows() const;

  bool has_scores() const;
  const SentencePair& pair(std::int64_t row) const;

  /// The given rows, in that order, as a dataset with the same options.
  SentencePairDataset select(std::span<const std::int64_t> rows) const;

 private:
  struct Rows;
  explicit SentencePairDataset(std::shared_ptr<Rows> rows);
  std::shared_ptr<Rows> rows_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/data/sentence_pairs.inl.hpp>
#endif
