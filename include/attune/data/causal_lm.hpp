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

namespace attune {

/// A sequence for a causal language model. `labels` has the token itself where it is to be predicted from
/// those before it, and ignore_index elsewhere.
struct TokenRow {
  std::vector<std::int32_t> ids;
  std::vector<std::int32_t> labels;
};

struct TextBlockOptions {
  /// Tokens in a block.
  std::int64_t block_size = 512;
  /// Leaves out the last block of a text when it is not full.
  bool drop_last = false;
  /// Puts the tokenizer's end-of-text token between texts, so that blocks may hold more than one; otherwise
  /// every text begins a block.
  bool join_texts = true;
};

/// Tokenised sequences with what is to be learned in each. A value that is cheap to copy: copies share their
/// rows.
class CausalLmDataset {
 public:
  /// Throws ConfigError when there is no row, or one is empty or has another number of labels than ids.
  explicit CausalLmDataset(std::vector<TokenRow> rows);

  /// Plain texts, joined and cut into blocks in which every token is to be learned; a block's first token is
  /// only read. Throws ConfigError for options that do not fit, or when no block results.
  static CausalLmDataset from_texts(const TextEncoder& tokenizer, std::span<const std::string> texts,
                                    const TextBlockOptions& options = {});
  /// A UTF-8 text file as one text. Throws IoError, FormatError too.
  static CausalLmDataset from_text_file(const TextEncoder& tokenizer, const std::string& file,
                                        const TextBlockOptions& options = {});

  std::int64_t size() const;
  /// The given rows, one sequence each. Throws ConfigError for a row that does not exist, and when no token
  /// of the batch is to be learned.
  Batch batch(std::span<const std::int64_t> rows, std::uint64_t epoch = 0) const;
  /// Tokens of each row.
  const std::vector<std::int32_t>& lengths() const;
  const TokenRow& row(std::int64_t row) const;
  /// Tokens to be learned, in all rows.
  std::int64_t trained_tokens() const;
  /// The given rows, in that order.
  CausalLmDataset select(std::span<const std::int64_t> rows) const;

 private:
  struct Rows;
  std::shared_ptr<const Rows> rows_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/data/causal_lm.inl.hpp>
#endif
