#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/text/bert_tokenizer_options.hpp>
#include <attune/text/encoding.hpp>

namespace attune {

namespace detail {
class BertTokenizerState;
}

/// BERT's tokenizer: cleans, lower-cases and strips accents, splits at white space and punctuation and looks
/// up the longest pieces (WordPiece). Its ids are those of Hugging Face's `BertTokenizerFast` for every text.
///
/// A value that is cheap to copy: copies share one immutable vocabulary. All const members may be called from
/// many threads at once. Text is UTF-8; what is not valid is read as U+FFFD.
class BertTokenizer {
 public:
  /// Reads a Hugging Face model directory: `tokenizer.json` (of type WordPiece) or else `vocab.txt`, with
  /// `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` when present, as transformers
  /// 4 and 5 write them. As in `BertTokenizerFast`, do_lower_case, strip_accents and tokenize_chinese_chars
  /// come from `tokenizer_config.json` and not from `tokenizer.json`, unless that file names a generic
  /// tokenizer class. Throws IoError, FormatError (malformed content), ConfigError (another kind of
  /// tokenizer, named).
  static BertTokenizer from_pretrained(const std::string& directory);

  /// A tokenizer over `tokens`, whose ids are their places. Of equal tokens the last one counts. Special
  /// tokens that the vocabulary lacks get the next free ids. Throws ConfigError when unk_token is not in the
  /// vocabulary.
  static BertTokenizer from_vocab(std::vector<std::string> tokens, BertTokenizerOptions options = {});

  /// Writes vocab.txt, tokenizer.json, tokenizer_config.json and special_tokens_map.json into the directory,
  /// which is made when missing; transformers loads it with the same ids. Throws IoError.
  void save_pretrained(const std::string& directory) const;

  Encoding encode(std::string_view text, const EncodeOptions& options = {}) const;
  /// An empty second text makes a pair as any other does.
  Encoding encode_pair(std::string_view text, std::string_view pair, const EncodeOptions& options = {}) const;
  /// Encodes a sentence that comes as words: each is split on its own, word_ids are indices into `words` and
  /// offsets count from the begin of the word (`is_split_into_words=True` in Hugging Face).
  Encoding encode_words(std::span<const std::string> words, const EncodeOptions& options = {}) const;

  /// Encodes many texts on all threads. `pairs` is empty or as long as `texts`; ShapeError otherwise.
  std::vector<Encoding> encode_batch(std::span<const std::string> texts,
                                     std::span<const std::string> pairs = {},
                                     const EncodeOptions& options = {}) const;
  /// The same ids back to back, without offsets and masks: the fastest way.
  EncodedBatch encode_packed(std::span<const std::string> texts, std::span<const std::string> pairs = {},
                             const EncodeOptions& options = {}) const;

  /// The text of a row of ids. Ids outside the vocabulary are left out.
  std::string decode(std::span<const std::int32_t> ids, const DecodeOptions& options = {}) const;

  /// The id of a token (not of a text), if there is one.
  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  /// The token of an id. Throws ConfigError when there is none.
  const std::string& id_to_token(std::int32_t id) const;

  /// One more than the largest id: how many rows an embedding table needs at least.
  std::int64_t vocab_size() const;
  std::int32_t pad_token_id() const;
  std::int32_t cls_token_id() const;
  std::int32_t sep_token_id() const;
  std::int32_t mask_token_id() const;
  std::int32_t unk_token_id() const;
  /// How many special tokens a row gets: 2, or 3 for a pair.
  static constexpr std::int64_t special_tokens_per_row(bool pair) { return pair ? 3 : 2; }
  /// Whether the id belongs to a special token, added tokens marked special included.
  bool is_special(std::int32_t id) const;
  std::int64_t model_max_length() const;
  const BertTokenizerOptions& options() const;

 private:
  explicit BertTokenizer(std::shared_ptr<const detail::BertTokenizerState> state)
      : state_(std::move(state)) {}
  std::shared_ptr<const detail::BertTokenizerState> state_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/bert_tokenizer.inl.hpp>
#endif
