#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace attune {

/// Which part of a pair gives up tokens when both together are too long; the rules and names are those of
/// Hugging Face's fast tokenizers. Tokens are dropped from the end.
enum class Truncation {
  longest_first,  ///< the longer sequence down to the shorter one's length, then both evenly
  only_first,     ///< the first sequence alone; ConfigError when that is not enough
  only_second,    ///< the second sequence alone; ConfigError when there is none or it is too short
};

struct EncodeOptions {
  /// The most tokens a row may have, special tokens included; 0 leaves rows as long as they are.
  std::int64_t max_length = 0;
  Truncation truncation = Truncation::longest_first;
  /// Adds [CLS] and [SEP] as BERT was trained with.
  bool add_special_tokens = true;
};

/// A half-open range of Unicode code points (not bytes) of the text that the caller gave.
struct TextSpan {
  std::int32_t begin = 0;
  std::int32_t end = 0;
  friend bool operator==(const TextSpan&, const TextSpan&) = default;
};

/// One encoded text or pair of texts. All arrays have one entry per token.
struct Encoding {
  std::vector<std::int32_t> ids;
  /// 0 for the first text, 1 for the second.
  std::vector<std::int32_t> type_ids;
  /// Where each token stands in its own text, in code points; {0, 0} for special tokens that were added. An
  /// invalid byte sequence counts as the replacement characters it is read as.
  std::vector<TextSpan> offsets;
  /// Which word of its own text a token belongs to (a stretch between white space and punctuation; for
  /// encode_words the caller's words); -1 for special tokens that were added.
  std::vector<std::int32_t> word_ids;
  /// 1 for special tokens that were added, 0 otherwise.
  std::vector<std::uint8_t> special_tokens_mask;
  /// Whether tokens were dropped to keep max_length.
  bool truncated = false;

  std::int64_t size() const { return static_cast<std::int64_t>(ids.size()); }
};

/// Many encoded rows, back to back: what a model is fed with.
struct EncodedBatch {
  std::vector<std::int32_t> ids;       ///< N
  std::vector<std::int32_t> type_ids;  ///< N
  std::vector<std::int64_t> row_offsets{
      0};                           ///< B + 1; row b owns tokens row_offsets[b] .. row_offsets[b + 1]
  std::int64_t truncated_rows = 0;  ///< how many rows lost tokens to max_length

  std::int64_t size() const { return static_cast<std::int64_t>(row_offsets.size()) - 1; }
  std::span<const std::int32_t> row(std::int64_t index) const { return part(ids, index); }
  std::span<const std::int32_t> row_type_ids(std::int64_t index) const { return part(type_ids, index); }

 private:
  std::span<const std::int32_t> part(const std::vector<std::int32_t>& values, std::int64_t index) const {
    const auto begin = static_cast<std::size_t>(row_offsets[static_cast<std::size_t>(index)]);
    const auto end = static_cast<std::size_t>(row_offsets[static_cast<std::size_t>(index) + 1]);
    return std::span(values).subspan(begin, end - begin);
  }
};

/// A token that is found in the text before anything is split, as in Hugging Face's tokenizers.
struct AddedToken {
  std::string content = {};
  bool single_word = false;  ///< only where no letter, digit or underscore touches it
  bool lstrip = false;       ///< takes the white space on its left along
  bool rstrip = false;       ///< takes the white space on its right along
  bool normalized = true;    ///< is searched in the lower-cased, accent-stripped text
  bool special = false;      ///< is left out by decode(..., {.skip_special_tokens = true})
  friend bool operator==(const AddedToken&, const AddedToken&) = default;
};

}  // namespace attune
