#pragma once

#include <filesystem>
#include <utility>

#include <attune/formats/json.hpp>
#include <attune/text/auto_tokenizer.hpp>

namespace attune {

ATTUNE_INLINE AutoTokenizer AutoTokenizer::from_pretrained(const std::string& directory) {
  const std::filesystem::path folder(directory);
  const auto has = [&](const char* file) { return std::filesystem::exists(folder / file); };
  bool is_bert = has("vocab.txt");
  if (has("config.json")) {
    const auto type = JsonObject::read((folder / "config.json").string()).get("model_type", "");
    is_bert = type == "bert" || type == "distilbert" || (is_bert && !has("tokenizer.json"));
  }
  if (is_bert) return BertTokenizer::from_pretrained(directory);
  return Tokenizer::from_pretrained(directory);
}

ATTUNE_INLINE void AutoTokenizer::save_pretrained(const std::string& directory) const {
  std::visit([&](const auto& tokenizer) { tokenizer.save_pretrained(directory); }, tokenizer_);
}

ATTUNE_INLINE Encoding AutoTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return std::visit([&](const auto& tokenizer) { return tokenizer.encode(text, options); }, tokenizer_);
}
ATTUNE_INLINE Encoding AutoTokenizer::encode_pair(std::string_view text, std::string_view pair,
                                                  const EncodeOptions& options) const {
  return std::visit([&](const auto& tokenizer) { return tokenizer.encode_pair(text, pair, options); },
                    tokenizer_);
}
ATTUNE_INLINE Encoding AutoTokenizer::encode_words(std::span<const std::string> words,
                                                   const EncodeOptions& options) const {
  return std::visit([&](const auto& tokenizer) { return tokenizer.encode_words(words, options); },
                    tokenizer_);
}
ATTUNE_INLINE std::vector<Encoding> AutoTokenizer::encode_batch(std::span<const std::string> texts,
                                                                std::span<const std::string> pairs,
                                                                const EncodeOptions& options) const {
  return std::visit([&](const auto& tokenizer) { return tokenizer.encode_batch(texts, pairs, options); },
                    tokenizer_);
}
ATTUNE_INLINE EncodedBatch AutoTokenizer::encode_packed(std::span<const std::string> texts,
                                                        std::span<const std::string> pairs,
                                                        const EncodeOptions& options) const {
  return std::visit([&](const auto& tokenizer) { return tokenizer.encode_packed(texts, pairs, options); },
                    tokenizer_);
}
ATTUNE_INLINE std::string AutoTokenizer::decode(std::span<const std::int32_t> ids,
                                                const DecodeOptions& options) const {
  return std::visit([&](const auto& tokenizer) { return tokenizer.decode(ids, options); }, tokenizer_);
}

ATTUNE_INLINE std::int64_t AutoTokenizer::vocab_size() const {
  return std::visit([](const auto& tokenizer) { return tokenizer.vocab_size(); }, tokenizer_);
}
ATTUNE_INLINE std::int32_t AutoTokenizer::mask_token_id() const {
  return std::visit([](const auto& tokenizer) { return tokenizer.mask_token_id(); }, tokenizer_);
}
ATTUNE_INLINE bool AutoTokenizer::is_special(std::int32_t id) const {
  return std::visit([&](const auto& tokenizer) { return tokenizer.is_special(id); }, tokenizer_);
}
ATTUNE_INLINE std::int64_t AutoTokenizer::model_max_length() const {
  return std::visit([](const auto& tokenizer) { return tokenizer.model_max_length(); }, tokenizer_);
}

}  // namespace attune
