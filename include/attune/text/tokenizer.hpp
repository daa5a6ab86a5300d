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
#include <attune/text/tokenizer_parts.hpp>

namespace attune {

namespace detail {
class TokenizerState;
}

/// A tokenizer as its `tokenizer.json` describes it: byte-level BPE (GPT-2, RoBERTa, Llama 3, Qwen2,
/// SmolLM2), BPE with byte fallback (Llama 2), Unigram (XLM-RoBERTa) and WordPiece. Its ids are those of
/// Hugging Face's `tokenizers` for every text.
///
/// A value that is cheap to copy: copies share one immutable vocabulary. All const members may be called from
/// many threads at once. Text is UTF-8; what is not valid is read as U+FFFD.
///
/// This header needs PCRE2 (link attune::tokenizers), which splits texts where a tokenizer has a regular
/// expression of its own.
class Tokenizer {
 public:
  /// Reads a Hugging Face model directory: `tokenizer.json`, or else `vocab.json` with `merges.txt` (GPT-2,
  /// RoBERTa and Qwen2), with `tokenizer_config.json`, `special_tokens_map.json` and `chat_template.jinja`
  /// when present; or the tokenizer in a .gguf file. `tokenizer.json` counts as it is, whatever class the configuration names. Throws IoError,
  /// FormatError (malformed content), ConfigError (a component that is not supported, named).
  static Tokenizer from_pretrained(const std::string& directory);

  /// A tokenizer from the fields of a GGUF file. `where` is the file that errors name. Throws ConfigError,
  /// FormatError.
  static Tokenizer from_parts(TokenizerParts parts, const std::string& where = "Tokenizer::from_parts");

  /// Writes tokenizer.json, tokenizer_config.json and special_tokens_map.json into the directory, which is
  /// made when missing; transformers loads it with the same ids. Throws IoError.
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

  /// The text of a row of ids. Ids outside the vocabulary are left out; bytes that are no valid UTF-8 are
  /// U+FFFD.
  std::string decode(std::span<const std::int32_t> ids, const DecodeOptions& options = {}) const;

  /// The id of a token (not of a text), if there is one.
  std::optional<std::int32_t> token_to_id(std::string_view token) const;
  /// The token of an id, as the vocabulary spells it. Throws ConfigError when there is none.
  std::string id_to_token(std::int32_t id) const;

  /// One more than the largest id: how many rows an embedding table needs at least.
  std::int64_t vocab_size() const;
  /// The id of a special token by its name in tokenizer_config.json ("bos_token", "eos_token", "unk_token",
  /// "sep_token", "pad_token", "cls_token", "mask_token"), if the tokenizer has it.
  std::optional<std::int32_t> special_token_id(std::string_view name) const;
  /// The same as text; empty when there is none.
  std::string special_token(std::string_view name) const;
  /// These throw ConfigError when there is none.
  std::int32_t bos_token_id() const;
  std::int32_t eos_token_id() const;
  std::int32_t unk_token_id() const;
  std::int32_t sep_token_id() const;
  std::int32_t pad_token_id() const;
  std::int32_t cls_token_id() const;
  std::int32_t mask_token_id() const;
  /// How many special tokens a row gets.
  std::int64_t special_tokens_per_row(bool pair) const;
  /// Whether the id belongs to a special token, added tokens marked special included.
  bool is_special(std::int32_t id) const;
  /// What the model can take; recorded and saved, never applied by itself. The largest integer: no limit.
  std::int64_t model_max_length() const;
  /// The Jinja template that turns conversations into text; empty when there is none.
  const std::string& chat_template() const;

 private:
  friend class TokenStream;
  explicit Tokenizer(std::shared_ptr<const detail::TokenizerState> state) : state_(std::move(state)) {}
  std::shared_ptr<const detail::TokenizerState> state_;
};

/// Decodes tokens as they are generated. What push() and finish() return, joined, is what decode() makes of
/// all the ids (without clean_up; runs of byte tokens that are not valid UTF-8 may differ in how many U+FFFD
/// they are), and no call returns a part of a character.
class TokenStream {
 public:
  explicit TokenStream(Tokenizer tokenizer, bool skip_special_tokens = true);

  /// The text that is certain after this token; often empty in the middle of a character. Ids outside the
  /// vocabulary add nothing.
  std::string push(std::int32_t id);
  /// The rest, with U+FFFD for what did not become a character. The stream begins anew.
  std::string finish();

 private:
  std::string push_bytes(std::string_view bytes);
  std::string decoded(std::span<const std::int32_t> ids) const;
  bool is_unfinished() const;
  std::string pending() const;

  Tokenizer tokenizer_;
  bool skip_special_tokens_;
  std::string bytes_;              // at byte level: those of a character that has begun
  std::vector<std::int32_t> ids_;  // otherwise: of the last text returned, then those pending
  std::size_t returned_ = 0;       // how many of them are of the last text returned
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/tokenizer.inl.hpp>
#endif
