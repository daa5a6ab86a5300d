#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include <attune/text/encoding.hpp>

namespace attune {

/// What a BERT tokenizer is made of, beside its vocabulary. Names and defaults are those of
/// `BertTokenizerFast`.
struct BertTokenizerOptions {
  bool do_lower_case = true;
  /// Unset: as do_lower_case.
  std::optional<bool> strip_accents = {};
  /// Puts every CJK ideograph into a word of its own.
  bool tokenize_chinese_chars = true;
  /// Drops control characters and turns all white space into spaces.
  bool clean_text = true;
  std::string unk_token = "[UNK]";
  std::string sep_token = "[SEP]";
  std::string pad_token = "[PAD]";
  std::string cls_token = "[CLS]";
  std::string mask_token = "[MASK]";
  /// Stands before tokens that continue a word.
  std::string continuing_subword_prefix = "##";
  /// A longer word (in code points, after normalisation) becomes unk_token.
  std::int64_t max_input_chars_per_word = 100;
  /// What the model can take; recorded and saved, never applied by itself: pass it as
  /// EncodeOptions::max_length.
  std::int64_t model_max_length = 512;
  /// What DecodeOptions::clean_up is when unset.
  bool clean_up_tokenization_spaces = false;
  /// Further tokens that are never split. One that the vocabulary lacks gets the next free id.
  std::vector<AddedToken> added_tokens = {};
};

struct DecodeOptions {
  bool skip_special_tokens = false;
  /// Joins punctuation and English contractions to the word before them; unset: as the tokenizer's options
  /// say.
  std::optional<bool> clean_up = {};
};

}  // namespace attune
