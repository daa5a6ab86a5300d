#pragma once

#include <algorithm>
#include <atomic>
#include <set>

#include <attune/core/error.hpp>
#include <attune/core/sort.hpp>
#include <attune/text/bert_tokenizer_state.hpp>
#include <attune/text/unicode_table.hpp>
#include <attune/text/word_split.hpp>

namespace attune::detail {

ATTUNE_INLINE BertTokenizerState::BertTokenizerState(Vocabulary entries, BertTokenizerOptions given,
                                                     const std::string& where)
    : options(std::move(given)), continuation_root(pieces.add_root()), vocabulary(std::move(entries)) {
  static std::atomic<std::uint32_t> last_serial{0};
  do serial = ++last_serial;
  while (serial == 0);
  if (options.max_input_chars_per_word < 0)
    throw ConfigError(where + ": max_input_chars_per_word must not be negative, found " +
                      std::to_string(options.max_input_chars_per_word));
  if (valid_utf8_prefix(options.continuing_subword_prefix) != options.continuing_subword_prefix.size())
    throw ConfigError(where + ": continuing_subword_prefix is not valid UTF-8");
  chars = BertCharTable::of({.clean_text = options.clean_text,
                             .split_ideographs = options.tokenize_chinese_chars,
                             .strip_accents = options.strip_accents.value_or(options.do_lower_case),
                             .lower_case = options.do_lower_case});
  // A word that begins with punctuation is that one character: no word is a token that continues words.
  const std::string& prefix = options.continuing_subword_prefix;
  prefix_is_apart_ =
      !prefix.empty() && (unicode_classes(decode_valid_utf8(prefix.data()).value) & unicode_punctuation);
  index_vocabulary(where);
  add_tokens(where);
  make_matchers(where);
}

ATTUNE_INLINE std::string_view BertTokenizerState::without_prefix(std::string_view token) const {
  const std::string& prefix = options.continuing_subword_prefix;
  return token.size() > prefix.size() && token.substr(0, prefix.size()) == prefix
             ? token.substr(prefix.size())
             : std::string_view();
}

ATTUNE_INLINE std::int32_t BertTokenizerState::vocabulary_id(std::string_view token) const {
  const std::string_view rest = without_prefix(token);
  return rest.empty() ? pieces.find(token) : pieces.find(rest, continuation_root);
}

ATTUNE_INLINE void BertTokenizerState::index_vocabulary(const std::string& where) {
  std::int64_t bytes = 0;
  for (const auto& [id, token] : vocabulary) bytes += 2 * static_cast<std::int64_t>(token.size());
  if (bytes > ByteTrie::max_bytes)
    throw ConfigError(where + ": the tokens of a vocabulary may have " +
                      std::to_string(ByteTrie::max_bytes / 2) + " bytes together, found " +
                      std::to_string(bytes / 2));
  std::map<std::string_view, std::size_t> last;
  for (std::size_t at = 0; at < vocabulary.size(); ++at) {
    const std::string& token = vocabulary[at].second;
    if (valid_utf8_prefix(token) != token.size())
      throw ConfigError(where + ": token " + std::to_string(vocabulary[at].first) + " is not valid UTF-8");
    if (vocabulary[at].first < 0)
      throw ConfigError(where + ": the id of token \"" + token + "\" must not be negative, found " +
                        std::to_string(vocabulary[at].first));
    last.insert_or_assign(last.end(), token, at);  // a JSON object's come in order
  }
  if (last.size() < vocabulary.size()) {
    Vocabulary distinct;
    for (std::size_t at = 0; at < vocabulary.size(); ++at)
      if (last[vocabulary[at].second] == at) distinct.push_back(vocabulary[at]);
    vocabulary = std::move(distinct);
  }
  sort_items(vocabulary, [](const auto& a, const auto& b) { return a.first < b.first; });
  for (const auto& [id, token] : vocabulary) {
    if (token.empty()) continue;
    const std::string_view rest = without_prefix(token);
    if (!rest.empty()) pieces.insert(rest, id, continuation_root);
    if (rest.empty() || !prefix_is_apart_) pieces.insert(token, id);
  }
  if (!vocabulary.empty()) vocab_size = std::int64_t{vocabulary.back().first} + 1;
  unk_id = vocabulary_id(options.unk_token);
  if (unk_id < 0)
    throw ConfigError(where + ": the vocabulary of " + std::to_string(vocabulary.size()) +
                      " tokens lacks the unknown token \"" + options.unk_token + "\"");
}

ATTUNE_INLINE void BertTokenizerState::add_tokens(const std::string& where) {
  std::set<std::string, std::less<>> listed;
  for (const AddedToken& token : options.added_tokens) listed.insert(token.content);
  for (const std::string* name : {&options.unk_token, &options.sep_token, &options.pad_token,
                                  &options.cls_token, &options.mask_token}) {
    if (name->empty()) throw ConfigError(where + ": a special token must not be empty");
    if (listed.insert(*name).second)
      options.added_tokens.push_back({.content = *name, .normalized = false, .special = true});
  }
  // Hugging Face numbers new tokens from the number of tokens (not from the largest id) on.
  std::int32_t next_id = static_cast<std::int32_t>(vocabulary.size());
  for (const AddedToken& token : options.added_tokens) {
    if (token.content.empty()) continue;
    if (valid_utf8_prefix(token.content) != token.content.size() ||
        token.content.size() > static_cast<std::size_t>(ByteTrie::max_bytes) / 8)
      throw ConfigError(where + ": an added token is not valid UTF-8 or longer than " +
                        std::to_string(ByteTrie::max_bytes / 8) + " bytes");
    const std::optional<std::int32_t> known = id_of(token.content);
    const std::int32_t id = known ? *known : next_id++;
    added_ids_[token.content] = id;
    added[id] = {token, {}};
    vocab_size = std::max(vocab_size, std::int64_t{id} + 1);
  }
  for (const auto& [id, entry] : added)
    if (entry.token.special) special_ids_.push_back(id);
  sep_id = *id_of(options.sep_token);
  pad_id = *id_of(options.pad_token);
  cls_id = *id_of(options.cls_token);
  mask_id = *id_of(options.mask_token);
}

ATTUNE_INLINE void BertTokenizerState::make_matchers(const std::string& where) {
  std::int64_t bytes = 0;
  for (auto& [id, entry] : added) {
    entry.pattern = entry.token.content;
    if (entry.token.normalized) {
      entry.pattern.clear();
      for (const char32_t value : normalize(chars->settings(), entry.token.content, 0).chars)
        append_utf8(entry.pattern, value);
    }
    bytes += static_cast<std::int64_t>(entry.pattern.size());
    if (bytes > ByteTrie::max_bytes) throw ConfigError(where + ": the added tokens are too long together");
    if (!entry.pattern.empty())
      (entry.token.normalized ? normalized_matcher : raw_matcher).add(entry.pattern, entry.token, id);
  }
}

ATTUNE_INLINE std::optional<std::int32_t> BertTokenizerState::id_of(std::string_view token) const {
  const auto found = added_ids_.find(token);
  if (found != added_ids_.end()) return found->second;
  const std::int32_t id = vocabulary_id(token);
  return id < 0 ? std::nullopt : std::optional(id);
}

ATTUNE_INLINE const std::string* BertTokenizerState::token_of(std::int32_t id) const {
  const auto special = added.find(id);
  if (special != added.end()) return &special->second.token.content;
  const auto found =
      std::lower_bound(vocabulary.begin(), vocabulary.end(), id,
                       [](const auto& entry, std::int32_t value) { return entry.first < value; });
  return found != vocabulary.end() && found->first == id ? &found->second : nullptr;
}

ATTUNE_INLINE const std::string* BertTokenizerState::text_of(std::int32_t id) const {
  const auto special = added.find(id);
  return special != added.end() ? &special->second.pattern : token_of(id);
}

ATTUNE_INLINE bool BertTokenizerState::is_special(std::int32_t id) const {
  return std::binary_search(special_ids_.begin(), special_ids_.end(), id);
}

}  // namespace attune::detail
