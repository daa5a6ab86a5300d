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

/// How tokens are masked; names and defaults are those of Hugging Face's DataCollatorForLanguageModeling.
struct MaskingOptions {
  double mlm_probability = 0.15;     ///< share of the tokens that the model has to predict
  double mask_replace_prob = 0.8;    ///< of these, the share that becomes [MASK]
  double random_replace_prob = 0.1;  ///< and the share that becomes a random token; the rest stays as it is
  std::uint64_t seed = 0;
};

/// Masks a batch in place: `labels` becomes N entries, the original token where one has to be predicted and
/// ignore_index elsewhere. Special tokens are left alone. Each sequence with an ordinary token gets at least
/// one to predict (as in BERT's own data), so that no batch is without a loss. What happens to a sequence
/// depends on the seed, the epoch and its dataset row alone (Batch::rows; its place in the batch when that is
/// empty). Throws ConfigError for probabilities outside [0, 1] and for a tokenizer without a mask token.
void mask_tokens(Batch& batch, const TextEncoder& tokenizer, const MaskingOptions& options,
                 std::uint64_t epoch);

struct MaskedLanguageModelingOptions {
  std::int64_t max_length = 512;  ///< the most tokens of a row, special tokens included; 0 for no limit
  MaskingOptions masking = {};
};

/// Lines of text, masked anew in every epoch. A value that is cheap to copy: copies share their rows.
class MaskedLanguageModelingDataset {
 public:
  /// Each line of a UTF-8 text file that is not blank is a row. Throws IoError, and FormatError for a file
  /// without lines.
  MaskedLanguageModelingDataset(TextEncoder tokenizer, const std::string& file,
                                const MaskedLanguageModelingOptions& options = {});
  MaskedLanguageModelingDataset(TextEncoder tokenizer, std::vector<std::string> texts,
                                const MaskedLanguageModelingOptions& options = {});

  std::int64_t size() const;
  /// Masked sequences of the given rows, by mask_tokens(). Throws ConfigError for a row that does not exist.
  Batch batch(std::span<const std::int64_t> rows, std::uint64_t epoch = 0) const;

  /// Tokens of each row after truncation. Made on all threads when first asked for, then kept.
  const std::vector<std::int32_t>& lengths() const;
  std::int64_t truncated_rows() const;
  const std::string& text(std::int64_t row) const;

  /// The given rows, in that order, as a dataset with the same options.
  MaskedLanguageModelingDataset select(std::span<const std::int64_t> rows) const;

 private:
  struct Rows;
  explicit MaskedLanguageModelingDataset(std::shared_ptr<Rows> rows);
  std::shared_ptr<Rows> rows_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/data/masked_language_modeling.inl.hpp>
#endif
