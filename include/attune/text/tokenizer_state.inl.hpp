#pragma once

#include <algorithm>
#include <atomic>

#include <attune/core/error.hpp>
#include <attune/text/tokenizer_state.hpp>
#include <attune/text/utf8.hpp>

namespace attune::detail {

ATTUNE_INLINE TokenizerState::TokenizerState(Vocabulary entries, TokenModel how, const std::string& where)
    : vocabulary(std::move(entries)), model(std::move(how)) {
  static std::atomic<std::uint32_t> last_serial{0};
  do serial = ++last_serial;
  while (serial == 0);
  vocab_size = vocabulary.id_end();
  if (vocab_size == 0) throw ConfigError(where + ": the vocabulary is empty");
}

ATTUNE_INLINE void TokenizerState::add_token(const AddedToken& token) {
  if (token.content.empty()) return;
  std::optional<std::int32_t> id = id_of(token.content);
  if (!id) {
    // Hugging Face numbers new tokens from the number of tokens (not from the largest id) on.
    auto next = static_cast<std::int64_t>(vocabulary.size());
    if (!added.empty()) next = std::max(next, std::int64_t{added.rbegin()->first} + 1);
    id = static_cast<std::int32_t>(next);
  }
  added_ids_[token.content] = *id;
  added[*id] = token;
  vocab_size = std::max(vocab_size, std::int64_t{*id} + 1);
}

ATTUNE_INLINE void TokenizerState::finish(const std::string& where) {
  std::int64_t bytes = 0;
  for (const auto& [id, token] : added) {
    if (token.special) special_ids_.push_back(id);
    std::string pattern = token.content;
    if (token.normalized && !normalizer.steps.empty()) {
      AlignedText text;
      text.assign(pattern, false, 0);
      normalizer.apply(text);
      pattern = std::string(text.bytes());
    }
    bytes += static_cast<std::int64_t>(pattern.size());
    if (bytes > ByteTrie::max_bytes) throw ConfigError(where + ": the added tokens are too long together");
    if (!pattern.empty()) (token.normalized ? normalized_matcher : raw_matcher).add(pattern, token, id);
    patterns_[id] = std::move(pattern);
  }
  for (std::int32_t id = 0; id < vocab_size; ++id) {
    decoded_begins_.push_back(static_cast<std::uint32_t>(decoded_bytes_.size()));
    const auto token = text_of(id);
    const std::size_t before = decoded_bytes_.size();
    if (!token || ByteAlphabet::get().decode(*token, decoded_bytes_)) continue;
    decoded_bytes_.resize(before);
    decoded_bytes_ += *token;
  }
  decoded_begins_.push_back(static_cast<std::uint32_t>(decoded_bytes_.size()));
}

ATTUNE_INLINE std::optional<std::int32_t> TokenizerState::id_of(std::string_view token) const {
  const auto found = added_ids_.find(token);
  if (found != added_ids_.end()) return found->second;
  const std::int32_t id = vocabulary.find(token);
  return id < 0 ? std::nullopt : std::optional(id);
}

ATTUNE_INLINE std::optional<std::string_view> TokenizerState::token_of(std::int32_t id) const {
  const auto found = added.find(id);
  if (found != added.end()) return found->second.content;
  if (!vocabulary.has(id)) return std::nullopt;
  return vocabulary.token(id);
}

ATTUNE_INLINE std::optional<std::string_view> TokenizerState::text_of(std::int32_t id) const {
  const auto found = patterns_.find(id);
  if (found != patterns_.end()) return found->second;
  return token_of(id);
}

ATTUNE_INLINE bool TokenizerState::is_special(std::int32_t id) const {
  return std::binary_search(special_ids_.begin(), special_ids_.end(), id);
}

ATTUNE_INLINE std::string_view TokenizerState::bytes_of(std::int32_t id) const {
  if (id < 0 || id >= vocab_size) return {};
  const auto at = static_cast<std::size_t>(id);
  return std::string_view(decoded_bytes_)
      .substr(decoded_begins_[at], decoded_begins_[at + 1] - decoded_begins_[at]);
}

}  // namespace attune::detail
