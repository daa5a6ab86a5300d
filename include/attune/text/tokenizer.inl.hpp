#pragma once

#include <algorithm>
#include <array>
#include <utility>

#include <attune/core/error.hpp>
#include <attune/text/spacing.hpp>
#include <attune/text/tokenizer.hpp>
#include <attune/text/tokenizer_encode.hpp>
#include <attune/text/tokenizer_state.hpp>

namespace attune::detail {

inline constexpr const char* tokenizer_name = "Tokenizer";

ATTUNE_INLINE const std::vector<TemplatePiece>& row_template(const TokenizerState& state, bool pair) {
  return pair ? state.post_processor.pair : state.post_processor.single;
}

ATTUNE_INLINE std::int64_t special_count(const TokenizerState& state, bool pair) {
  std::int64_t count = 0;
  for (const TemplatePiece& piece : row_template(state, pair))
    count += static_cast<std::int64_t>(piece.ids.size());
  return count;
}

ATTUNE_INLINE std::size_t tokenizer_room(const TokenizerState& state, const EncodeOptions& options,
                                         bool pair) {
  return room_for_text(options, options.add_special_tokens ? special_count(state, pair) : 0, tokenizer_name);
}

/// Added tokens have been trimmed already.
ATTUNE_INLINE void trim_offsets(const TokenizerState& state, Pieces& text) {
  for (std::size_t at = 0; at < text.ids.size(); ++at)
    if (state.added.count(text.ids[at]) == 0)
      trim_span(state.vocabulary.token(text.ids[at]), at == 0, state.post_processor, text.offsets[at]);
}

ATTUNE_INLINE Encoding assemble(const TokenizerState& state, RowPieces& row, const EncodeOptions& options) {
  Encoding encoding;
  encoding.truncated = row.truncated;
  if (state.post_processor.trim_offsets)
    for (Pieces& text : row.texts) trim_offsets(state, text);
  for (const TemplatePiece& piece : row_template(state, row.pair)) {
    if (piece.kind == TemplatePiece::Kind::special) {
      if (!options.add_special_tokens) continue;
      encoding.ids.insert(encoding.ids.end(), piece.ids.begin(), piece.ids.end());
      encoding.offsets.resize(encoding.ids.size());
      encoding.word_ids.resize(encoding.ids.size(), -1);
    } else {
      const Pieces& text = row.texts[piece.kind == TemplatePiece::Kind::first ? 0 : 1];
      encoding.ids.insert(encoding.ids.end(), text.ids.begin(), text.ids.end());
      encoding.offsets.insert(encoding.offsets.end(), text.offsets.begin(), text.offsets.end());
      encoding.word_ids.insert(encoding.word_ids.end(), text.word_ids.begin(), text.word_ids.end());
    }
    encoding.type_ids.resize(encoding.ids.size(), piece.type_id);
    encoding.special_tokens_mask.resize(encoding.ids.size(),
                                        piece.kind == TemplatePiece::Kind::special ? 1 : 0);
  }
  return encoding;
}

ATTUNE_INLINE Encoding encode_row(const TokenizerState& state, std::string_view text,
                                  const std::string_view* pair, const EncodeOptions& options) {
  const std::size_t room = tokenizer_room(state, options, pair != nullptr);
  RowPieces row;
  row.pair = pair != nullptr;
  const std::size_t limit = piece_limit(room, row.pair, options);
  TokenWriter& writer = TokenWriter::of_thread();
  writer.write(state, text, row.texts[0], limit, true);
  if (pair) writer.write(state, *pair, row.texts[1], limit, true);
  row.truncate(room, options, true, tokenizer_name);
  return assemble(state, row, options);
}

ATTUNE_INLINE void encode_chunk(const TokenizerState& state, std::span<const std::string> texts,
                                std::span<const std::string> pairs, const EncodeOptions& options,
                                std::size_t room, PackedChunk& chunk) {
  TokenWriter& writer = TokenWriter::of_thread();
  RowPieces row;
  row.pair = !pairs.empty();
  const std::size_t limit = piece_limit(room, row.pair, options);
  for (std::size_t at = 0; at < texts.size(); ++at) {
    const std::size_t before = chunk.ids.size();
    row.clear();
    writer.write(state, texts[at], row.texts[0], limit, false);
    if (row.pair) writer.write(state, pairs[at], row.texts[1], limit, false);
    row.truncate(room, options, false, tokenizer_name);
    chunk.truncated_rows += row.truncated ? 1 : 0;
    for (const TemplatePiece& piece : row_template(state, row.pair)) {
      if (piece.kind != TemplatePiece::Kind::special)
        chunk.put(row.texts[piece.kind == TemplatePiece::Kind::first ? 0 : 1].ids, piece.type_id);
      else if (options.add_special_tokens)
        chunk.put(piece.ids, piece.type_id);
    }
    chunk.lengths.push_back(static_cast<std::int64_t>(chunk.ids.size() - before));
  }
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE Encoding Tokenizer::encode(std::string_view text, const EncodeOptions& options) const {
  return detail::encode_row(*state_, text, nullptr, options);
}

ATTUNE_INLINE Encoding Tokenizer::encode_pair(std::string_view text, std::string_view pair,
                                              const EncodeOptions& options) const {
  return detail::encode_row(*state_, text, &pair, options);
}

ATTUNE_INLINE Encoding Tokenizer::encode_words(std::span<const std::string> words,
                                               const EncodeOptions& options) const {
  const std::size_t room = detail::tokenizer_room(*state_, options, false);
  const std::size_t limit = detail::piece_limit(room, false, options);
  detail::RowPieces row;
  detail::TokenWriter& writer = detail::TokenWriter::of_thread();
  for (std::size_t at = 0; at < words.size() && row.texts[0].ids.size() <= room; ++at)
    writer.write(*state_, words[at], row.texts[0], limit, true, static_cast<std::int32_t>(at));
  row.truncate(room, options, true, detail::tokenizer_name);
  return detail::assemble(*state_, row, options);
}

ATTUNE_INLINE std::vector<Encoding> Tokenizer::encode_batch(std::span<const std::string> texts,
                                                            std::span<const std::string> pairs,
                                                            const EncodeOptions& options) const {
  return detail::encode_rows(*this, texts, pairs, options, detail::tokenizer_name);
}

ATTUNE_INLINE EncodedBatch Tokenizer::encode_packed(std::span<const std::string> texts,
                                                    std::span<const std::string> pairs,
                                                    const EncodeOptions& options) const {
  return detail::pack_texts(*state_, texts, pairs, options,
                            detail::tokenizer_room(*state_, options, !pairs.empty()), detail::tokenizer_name);
}

ATTUNE_INLINE std::string Tokenizer::decode(std::span<const std::int32_t> ids,
                                            const DecodeOptions& options) const {
  const auto is_left_out = [&](std::int32_t id) {
    return options.skip_special_tokens && state_->is_special(id);
  };
  std::string text;
  if (state_->decodes_bytes()) {
    for (const std::int32_t id : ids)
      if (!is_left_out(id)) text += state_->bytes_of(id);
    if (detail::valid_utf8_prefix(text) != text.size()) text = detail::replace_invalid_utf8(text);
  } else {
    std::vector<std::string> tokens;
    for (const std::int32_t id : ids) {
      const auto token = state_->text_of(id);
      if (token && !is_left_out(id)) tokens.emplace_back(*token);
    }
    for (const detail::DecoderStep& step : state_->decoder) detail::decode_step(step, tokens);
    for (std::size_t at = 0; at < tokens.size(); ++at) {
      if (at > 0 && !state_->has_decoder) text += ' ';
      text += tokens[at];
    }
  }
  if (options.clean_up.value_or(state_->clean_up_tokenization_spaces)) detail::clean_up_spaces(text, false);
  return text;
}

ATTUNE_INLINE std::optional<std::int32_t> Tokenizer::token_to_id(std::string_view token) const {
  return state_->id_of(token);
}

ATTUNE_INLINE std::string Tokenizer::id_to_token(std::int32_t id) const {
  const auto token = state_->token_of(id);
  if (!token)
    throw ConfigError("Tokenizer::id_to_token: no token has the id " + std::to_string(id) + "; there are " +
                      std::to_string(state_->vocab_size));
  return std::string(*token);
}

ATTUNE_INLINE std::int64_t Tokenizer::vocab_size() const { return state_->vocab_size; }

ATTUNE_INLINE std::string Tokenizer::special_token(std::string_view name) const {
  const auto found = state_->special_tokens.find(name);
  return found == state_->special_tokens.end() ? std::string() : found->second;
}

ATTUNE_INLINE std::optional<std::int32_t> Tokenizer::special_token_id(std::string_view name) const {
  const auto found = state_->special_tokens.find(name);
  return found == state_->special_tokens.end() ? std::nullopt : state_->id_of(found->second);
}

}  // namespace attune

namespace attune::detail {

ATTUNE_INLINE std::int32_t required_special(const Tokenizer& tokenizer, const char* name) {
  const auto id = tokenizer.special_token_id(name);
  if (!id) throw ConfigError(std::string("Tokenizer: it has no ") + name);
  return *id;
}

}  // namespace attune::detail

namespace attune {

ATTUNE_INLINE std::int32_t Tokenizer::bos_token_id() const {
  return detail::required_special(*this, "bos_token");
}
ATTUNE_INLINE std::int32_t Tokenizer::eos_token_id() const {
  return detail::required_special(*this, "eos_token");
}
ATTUNE_INLINE std::int32_t Tokenizer::unk_token_id() const {
  return detail::required_special(*this, "unk_token");
}
ATTUNE_INLINE std::int32_t Tokenizer::sep_token_id() const {
  return detail::required_special(*this, "sep_token");
}
ATTUNE_INLINE std::int32_t Tokenizer::pad_token_id() const {
  return detail::required_special(*this, "pad_token");
}
ATTUNE_INLINE std::int32_t Tokenizer::cls_token_id() const {
  return detail::required_special(*this, "cls_token");
}
ATTUNE_INLINE std::int32_t Tokenizer::mask_token_id() const {
  return detail::required_special(*this, "mask_token");
}
ATTUNE_INLINE std::int64_t Tokenizer::special_tokens_per_row(bool pair) const {
  return detail::special_count(*state_, pair);
}
ATTUNE_INLINE bool Tokenizer::is_special(std::int32_t id) const { return state_->is_special(id); }
ATTUNE_INLINE std::int64_t Tokenizer::model_max_length() const { return state_->model_max_length; }
ATTUNE_INLINE const std::string& Tokenizer::chat_template() const { return state_->chat_template; }

}  // namespace attune

#include <attune/text/token_stream.inl.hpp>
#include <attune/text/tokenizer_parts.inl.hpp>
#include <attune/text/tokenizer_read.inl.hpp>
#include <attune/text/tokenizer_write.inl.hpp>
