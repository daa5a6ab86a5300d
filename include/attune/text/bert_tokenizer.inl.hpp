#pragma once

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <attune/core/error.hpp>
#include <attune/text/bert_encode.hpp>
#include <attune/text/bert_tokenizer.hpp>
#include <attune/text/bert_tokenizer_state.hpp>

namespace attune::detail {

inline constexpr const char* bert_name = "BertTokenizer";

/// How many tokens of its texts a row has room for.
ATTUNE_INLINE std::size_t bert_room(const EncodeOptions& options, bool pair) {
  return room_for_text(options, options.add_special_tokens ? BertTokenizer::special_tokens_per_row(pair) : 0,
                       bert_name);
}

ATTUNE_INLINE Encoding assemble(const BertTokenizerState& state, const RowPieces& row,
                                const EncodeOptions& options) {
  Encoding encoding;
  encoding.truncated = row.truncated;
  const auto add_special = [&](std::int32_t id, std::int32_t type) {
    if (!options.add_special_tokens) return;
    encoding.ids.push_back(id);
    encoding.type_ids.push_back(type);
    encoding.offsets.push_back({});
    encoding.word_ids.push_back(-1);
    encoding.special_tokens_mask.push_back(1);
  };
  add_special(state.cls_id, 0);
  for (std::int32_t type = 0; type < (row.pair ? 2 : 1); ++type) {
    const Pieces& text = row.texts[static_cast<std::size_t>(type)];
    encoding.ids.insert(encoding.ids.end(), text.ids.begin(), text.ids.end());
    encoding.type_ids.resize(encoding.ids.size(), type);
    encoding.offsets.insert(encoding.offsets.end(), text.offsets.begin(), text.offsets.end());
    encoding.word_ids.insert(encoding.word_ids.end(), text.word_ids.begin(), text.word_ids.end());
    encoding.special_tokens_mask.resize(encoding.ids.size(), 0);
    add_special(state.sep_id, type);
  }
  return encoding;
}

ATTUNE_INLINE Encoding encode_row(const BertTokenizerState& state, std::string_view text,
                                  const std::string_view* pair, const EncodeOptions& options) {
  const std::size_t room = bert_room(options, pair != nullptr);
  RowPieces row;
  row.pair = pair != nullptr;
  const std::size_t limit = piece_limit(room, row.pair, options);
  PieceWriter<true>& writer = thread_piece_writer<true>();
  writer.write(state, text, row.texts[0], limit);
  if (pair) writer.write(state, *pair, row.texts[1], limit);
  row.truncate(room, options, true, bert_name);
  return assemble(state, row, options);
}

ATTUNE_INLINE void encode_chunk(const BertTokenizerState& state, std::span<const std::string> texts,
                                std::span<const std::string> pairs, const EncodeOptions& options,
                                std::size_t room, PackedChunk& chunk) {
  PieceWriter<false>& writer = thread_piece_writer<false>();
  RowPieces row;
  row.pair = !pairs.empty();
  const std::size_t limit = piece_limit(room, row.pair, options);
  for (std::size_t at = 0; at < texts.size(); ++at) {
    const std::size_t before = chunk.ids.size();
    row.clear();
    writer.write(state, texts[at], row.texts[0], limit);
    if (row.pair) writer.write(state, pairs[at], row.texts[1], limit);
    row.truncate(room, options, false, bert_name);
    chunk.truncated_rows += row.truncated ? 1 : 0;
    if (options.add_special_tokens) chunk.put(std::span(&state.cls_id, 1), 0);
    for (std::int32_t type = 0; type < (row.pair ? 2 : 1); ++type) {
      chunk.put(row.texts[static_cast<std::size_t>(type)].ids, type);
      if (options.add_special_tokens) chunk.put(std::span(&state.sep_id, 1), type);
    }
    chunk.lengths.push_back(static_cast<std::int64_t>(chunk.ids.size() - before));
  }
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE BertTokenizer BertTokenizer::from_vocab(std::vector<std::string> tokens,
                                                      BertTokenizerOptions options) {
  if (tokens.size() > static_cast<std::size_t>(detail::ByteTrie::max_bytes))
    throw ConfigError("BertTokenizer::from_vocab: too many tokens, found " + std::to_string(tokens.size()));
  detail::BertTokenizerState::Vocabulary vocabulary;
  vocabulary.reserve(tokens.size());
  for (std::string& token : tokens)
    vocabulary.emplace_back(static_cast<std::int32_t>(vocabulary.size()), std::move(token));
  return BertTokenizer(std::make_shared<const detail::BertTokenizerState>(
      std::move(vocabulary), std::move(options), "BertTokenizer::from_vocab"));
}

ATTUNE_INLINE Encoding BertTokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return detail::encode_row(*state_, text, nullptr, options);
}

ATTUNE_INLINE Encoding BertTokenizer::encode_pair(std::string_view text, std::string_view pair,
                                                  const EncodeOptions& options) const {
  return detail::encode_row(*state_, text, &pair, options);
}

ATTUNE_INLINE Encoding BertTokenizer::encode_words(std::span<const std::string> words,
                                                   const EncodeOptions& options) const {
  const std::size_t room = detail::bert_room(options, false);
  const std::size_t limit = detail::piece_limit(room, false, options);
  detail::RowPieces row;
  detail::PieceWriter<true>& writer = detail::thread_piece_writer<true>();
  for (std::size_t at = 0; at < words.size() && row.texts[0].ids.size() <= room; ++at)
    writer.write(*state_, words[at], row.texts[0], limit, static_cast<std::int32_t>(at));
  row.truncate(room, options, true, detail::bert_name);
  return detail::assemble(*state_, row, options);
}

ATTUNE_INLINE std::vector<Encoding> BertTokenizer::encode_batch(std::span<const std::string> texts,
                                                                std::span<const std::string> pairs,
                                                                const EncodeOptions& options) const {
  return detail::encode_rows(*this, texts, pairs, options, detail::bert_name);
}

ATTUNE_INLINE EncodedBatch BertTokenizer::encode_packed(std::span<const std::string> texts,
                                                        std::span<const std::string> pairs,
                                                        const EncodeOptions& options) const {
  return detail::pack_texts(*state_, texts, pairs, options, detail::bert_room(options, !pairs.empty()),
                            detail::bert_name);
}

ATTUNE_INLINE std::optional<std::int32_t> BertTokenizer::token_to_id(std::string_view token) const {
  return state_->id_of(token);
}

ATTUNE_INLINE const std::string& BertTokenizer::id_to_token(std::int32_t id) const {
  const std::string* token = state_->token_of(id);
  if (!token)
    throw ConfigError("BertTokenizer::id_to_token: no token has the id " + std::to_string(id) +
                      "; there are " + std::to_string(state_->vocab_size));
  return *token;
}

ATTUNE_INLINE std::int64_t BertTokenizer::vocab_size() const { return state_->vocab_size; }
ATTUNE_INLINE std::int32_t BertTokenizer::pad_token_id() const { return state_->pad_id; }
ATTUNE_INLINE std::int32_t BertTokenizer::cls_token_id() const { return state_->cls_id; }
ATTUNE_INLINE std::int32_t BertTokenizer::sep_token_id() const { return state_->sep_id; }
ATTUNE_INLINE std::int32_t BertTokenizer::mask_token_id() const { return state_->mask_id; }
ATTUNE_INLINE std::int32_t BertTokenizer::unk_token_id() const { return state_->unk_id; }
ATTUNE_INLINE bool BertTokenizer::is_special(std::int32_t id) const { return state_->is_special(id); }
ATTUNE_INLINE std::int64_t BertTokenizer::model_max_length() const {
  return state_->options.model_max_length;
}
ATTUNE_INLINE const BertTokenizerOptions& BertTokenizer::options() const { return state_->options; }

}  // namespace attune

#include <attune/text/bert_decode.inl.hpp>
#include <attune/text/bert_tokenizer_read.inl.hpp>
#include <attune/text/bert_tokenizer_write.inl.hpp>
