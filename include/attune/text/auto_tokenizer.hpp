#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/text/bert_tokenizer.hpp>
#include <attune/text/tokenizer.hpp>

namespace attune {

/// The tokenizer of a model directory, whichever of the two it needs: BertTokenizer for a BERT or DistilBERT,
/// Tokenizer for all others. A value that is cheap to copy; the members are those of the two. As
/// attune/text/tokenizer.hpp, this header needs PCRE2.
class AutoTokenizer {
 public:
  AutoTokenizer(BertTokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}  // NOLINT
  AutoTokenizer(Tokenizer tokenizer) : tokenizer_(std::move(tokenizer)) {}      // NOLINT

  /// Goes by the model_type in config.json. A directory without that file, or without tokenizer.json, has
  /// BERT's tokenizer when it has a vocab.txt. Throws as the two do.
  static AutoTokenizer from_pretrained(const std::string& directory);
  void save_pretrained(const std::string& directory) const;

  Encoding encode(std::string_view text, const EncodeOptions& options = {}) const;
  Encoding encode_pair(std::string_view text, std::string_view pair, const EncodeOptions& options = {}) const;
  Encoding encode_words(std::span<const std::string> words, const EncodeOptions& options = {}) const;
  std::vector<Encoding> encode_batch(std::span<const std::string> texts,
                                     std::span<const std::string> pairs = {},
                                     const EncodeOptions& options = {}) const;
  EncodedBatch encode_packed(std::span<const std::string> texts, std::span<const std::string> pairs = {},
                             const EncodeOptions& options = {}) const;
  std::string decode(std::span<const std::int32_t> ids, const DecodeOptions& options = {}) const;

  std::int64_t vocab_size() const;
  std::int32_t mask_token_id() const;
  bool is_special(std::int32_t id) const;
  std::int64_t model_max_length() const;

  /// The one that it is: visit(variant(), f) calls f with a BertTokenizer or a Tokenizer.
  const std::variant<BertTokenizer, Tokenizer>& variant() const { return tokenizer_; }

 private:
  std::variant<BertTokenizer, Tokenizer> tokenizer_;
};

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/auto_tokenizer.inl.hpp>
#endif
