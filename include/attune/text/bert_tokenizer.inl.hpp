#pragma once

#include <algorithm>
#include <array>
#include <limits>
#include <utility>

#include <attune/core/error.hpp>
#include <attune/core/parallel.hpp>
#include <attune/text/bert_encode.hpp>
#include <attune/text/bert_tokenizer.hpp>
#include <attune/text/bert_tokenizer_state.hpp>

namespace attune::detail {

/// How many tokens of both texts may stay, or no bound.
ATTUNE_INLINE std::size_t room_for_text(const EncodeOptions& options, bool pair) {
  if (options.max_length == 0) return std::numeric_limits<std::size_t>::max();
  const std::int64_t special = options.add_special_tokens ? BertTokenizer::special_tokens_per_row(pair) : 0;
  if (options.max_length < special || options.max_length < 0)
    throw ConfigError("BertTokenizer: max_length must be 0 or leave room for " + std::to_string(special) +
                      " special tokens, found " + std::to_string(options.max_length));
  return static_cast<std::size_t>(options.max_length - special);
}

/// How many tokens of each text stay: Hugging Face's rules. Counts may be those that
/// piece_limit() allows to stop at.
ATTUNE_INLINE std::array<std::size_t, 2> truncated_lengths(std::size_t first, std::size_t second, bool pair,
                                                           std::size_t room, Truncation truncation) {
  if (first + second <= room) return {first, second};
  if (room == 0) return {0, 0};
  if (truncation == Truncation::longest_first) {
    if (!pair) return {room, 0};
    std::size_t shorter = std::min(first, second);
    std::size_t longer = shorter > room ? shorter : std::max(shorter, room - shorter);
    if (shorter + longer > room) {
      shorter = room / 2;
      longer = shorter + room % 2;
    }
    return first <= second ? std::array{shorter, longer} : std::array{longer, shorter};
  }
  const bool cut_first = truncation == Truncation::only_first;
  if (!cut_first && !pair)
    throw ConfigError(
        "BertTokenizer: truncation only_second needs a pair, found a single text that is too long");
  const std::size_t kept = cut_first ? second : first;
  if (kept >= room)
    throw ConfigError(std::string("BertTokenizer: truncation ") + (cut_first ? "only_first" : "only_second") +
                      " cannot shorten the row enough: the other text has " + std::to_string(kept) +
                      " or more tokens and there is room for " + std::to_string(room));
  return cut_first ? std::array{room - kept, kept} : std::array{kept, room - kept};
}

/// The two texts of a row as pieces. Buffers that are used again and again.
struct RowPieces {
  std::array<Pieces, 2> texts;
  bool pair = false;
  bool truncated = false;

  void clear() {
    for (Pieces& pieces : texts) pieces.resize(0, true);
  }
  void truncate(std::size_t room, const EncodeOptions& options, bool full) {
    const std::size_t first = texts[0].ids.size(), second = texts[1].ids.size();
    const auto lengths = truncated_lengths(first, second, pair, room, options.truncation);
    truncated = lengths[0] < first || lengths[1] < second;
    texts[0].resize(lengths[0], full);
    texts[1].resize(lengths[1], full);
  }
};

/// How many pieces of a text need to be known: one more than what fits tells that a row is too long and how
/// it is cut, unless the rule asks which of two long texts is the longer one.
ATTUNE_INLINE std::size_t piece_limit(std::size_t room, bool pair, const EncodeOptions& options) {
  constexpr std::size_t all = std::numeric_limits<std::size_t>::max();
  return room == all || (pair && options.truncation == Truncation::longest_first) ? all : room + 1;
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
  const std::size_t room = room_for_text(options, pair != nullptr);
  RowPieces row;
  row.pair = pair != nullptr;
  const std::size_t limit = piece_limit(room, row.pair, options);
  PieceWriter<true>& writer = thread_piece_writer<true>();
  writer.write(state, text, row.texts[0], limit);
  if (pair) writer.write(state, *pair, row.texts[1], limit);
  row.truncate(room, options, true);
  return assemble(state, row, options);
}

/// Throws unless there is no pair or one for each text.
ATTUNE_INLINE void check_pairs(std::span<const std::string> texts, std::span<const std::string> pairs) {
  if (!pairs.empty() && pairs.size() != texts.size())
    throw ShapeError("BertTokenizer: pairs must be empty or as many as texts, found " +
                     std::to_string(pairs.size()) + " pairs of " + std::to_string(texts.size()) + " texts");
}

/// What one task of encode_packed produces.
struct PackedChunk {
  std::vector<std::int32_t> ids, type_ids;
  std::vector<std::int64_t> lengths;
  std::int64_t truncated_rows = 0;
};

ATTUNE_INLINE void encode_chunk(const BertTokenizerState& state, std::span<const std::string> texts,
                                std::span<const std::string> pairs, const EncodeOptions& options,
                                std::size_t room, PackedChunk& chunk) {
  PieceWriter<false>& writer = thread_piece_writer<false>();
  RowPieces row;
  row.pair = !pairs.empty();
  const std::size_t limit = piece_limit(room, row.pair, options);
  const auto put = [&](std::span<const std::int32_t> ids, std::int32_t type) {
    chunk.ids.insert(chunk.ids.end(), ids.begin(), ids.end());
    chunk.type_ids.resize(chunk.ids.size(), type);
  };
  for (std::size_t at = 0; at < texts.size(); ++at) {
    const std::size_t before = chunk.ids.size();
    row.clear();
    writer.write(state, texts[at], row.texts[0], limit);
    if (row.pair) writer.write(state, pairs[at], row.texts[1], limit);
    row.truncate(room, options, false);
    chunk.truncated_rows += row.truncated ? 1 : 0;
    if (options.add_special_tokens) put(std::span(&state.cls_id, 1), 0);
    for (std::int32_t type = 0; type < (row.pair ? 2 : 1); ++type) {
      put(row.texts[static_cast<std::size_t>(type)].ids, type);
      if (options.add_special_tokens) put(std::span(&state.sep_id, 1), type);
    }
    chunk.lengths.push_back(static_cast<std::int64_t>(chunk.ids.size() - before));
  }
}

inline constexpr std::int64_t rows_per_tokenizer_task = 64;

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
  const std::size_t room = detail::room_for_text(options, false);
  const std::size_t limit = detail::piece_limit(room, false, options);
  detail::RowPieces row;
  detail::PieceWriter<true>& writer = detail::thread_piece_writer<true>();
  for (std::size_t at = 0; at < words.size() && row.texts[0].ids.size() <= room; ++at)
    writer.write(*state_, words[at], row.texts[0], limit, static_cast<std::int32_t>(at));
  row.truncate(room, options, true);
  return detail::assemble(*state_, row, options);
}

ATTUNE_INLINE std::vector<Encoding> BertTokenizer::encode_batch(std::span<const std::string> texts,
                                                                std::span<const std::string> pairs,
                                                                const EncodeOptions& options) const {
  detail::check_pairs(texts, pairs);
  std::vector<Encoding> encodings(texts.size());
  parallel_chunks(static_cast<std::int64_t>(texts.size()), detail::rows_per_tokenizer_task,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (auto at = static_cast<std::size_t>(begin); at < static_cast<std::size_t>(end); ++at)
                      encodings[at] = pairs.empty() ? encode(texts[at], options)
                                                    : encode_pair(texts[at], pairs[at], options);
                  });
  return encodings;
}

ATTUNE_INLINE EncodedBatch BertTokenizer::encode_packed(std::span<const std::string> texts,
                                                        std::span<const std::string> pairs,
                                                        const EncodeOptions& options) const {
  detail::check_pairs(texts, pairs);
  const std::size_t room = detail::room_for_text(options, !pairs.empty());
  constexpr auto grain = static_cast<std::size_t>(detail::rows_per_tokenizer_task);
  std::vector<detail::PackedChunk> chunks((texts.size() + grain - 1) / grain);
  const auto count = static_cast<std::int64_t>(chunks.size());
  parallel_for(count, [&](std::int64_t number) {
    const std::size_t begin = static_cast<std::size_t>(number) * grain;
    const std::size_t rows = std::min(grain, texts.size() - begin);
    detail::encode_chunk(*state_, texts.subspan(begin, rows),
                         pairs.empty() ? pairs : pairs.subspan(begin, rows), options, room,
                         chunks[static_cast<std::size_t>(number)]);
  });
  EncodedBatch batch;
  std::vector<std::size_t> starts;
  std::size_t total = 0;
  for (const detail::PackedChunk& chunk : chunks) {
    starts.push_back(total);
    total += chunk.ids.size();
    batch.truncated_rows += chunk.truncated_rows;
    for (const std::int64_t length : chunk.lengths)
      batch.row_offsets.push_back(batch.row_offsets.back() + length);
  }
  batch.ids.resize(total);
  batch.type_ids.resize(total);
  parallel_for(count, [&](std::int64_t number) {
    const auto at = static_cast<std::size_t>(number);
    const auto start = static_cast<std::ptrdiff_t>(starts[at]);
    std::copy(chunks[at].ids.begin(), chunks[at].ids.end(), batch.ids.begin() + start);
    std::copy(chunks[at].type_ids.begin(), chunks[at].type_ids.end(), batch.type_ids.begin() + start);
  });
  return batch;
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
