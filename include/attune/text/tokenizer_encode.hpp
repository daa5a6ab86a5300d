#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>

#include <attune/text/token_rows.hpp>
#include <attune/text/tokenizer_state.hpp>

namespace attune::detail {

/// Leaves out the white space that a token, as the vocabulary spells it, begins and ends with.
void trim_span(std::string_view token, bool first, const PostProcessor& how, TextSpan& span);

/// Turns texts into tokens. One per thread: it owns the buffers and the cache of words.
class TokenWriter {
 public:
  /// This thread's.
  static TokenWriter& of_thread() {
    thread_local TokenWriter writer;
    return writer;
  }

  /// Appends the tokens of `text` to `out`, stopping early once there are more than `limit` in `out`. `full`
  /// keeps offsets and word numbers; all get the word number `fixed_word` when that is not negative, else
  /// they are counted.
  void write(const TokenizerState& state, std::string_view text, Pieces& out, std::size_t limit, bool full,
             std::int32_t fixed_word = -1) {
    state_ = &state;
    out_ = &out;
    limit_ = limit;
    full_ = full;
    fixed_word_ = fixed_word;
    next_word_ = 0;
    std::string repaired;
    if (valid_utf8_prefix(text) != text.size()) {
      repaired = replace_invalid_utf8(text);
      text = repaired;
    }
    TextPiece whole{text, nullptr, true};
    if (full) {
      source_.assign(text, true, 0);
      whole.spans = source_.spans().data();
    }
    state.raw_matcher.split(text, [&](std::size_t begin, std::size_t end, std::int32_t id) {
      const TextPiece piece = whole.part(begin, end);
      return id < 0 ? write_part(piece) : emit_added(id, piece);
    });
  }

 private:
  bool write_part(const TextPiece& piece) {
    TextPiece normal = piece;
    if (!state_->normalizer.steps.empty() && !state_->normalizer.keeps(piece.bytes)) {
      if (piece.spans)
        normalized_.assign(piece.bytes, std::span(piece.spans, piece.bytes.size()));
      else
        normalized_.assign(piece.bytes, false, 0);
      state_->normalizer.apply(normalized_);
      normal = {normalized_.bytes(), full_ ? normalized_.spans().data() : nullptr, piece.at_start};
    }
    if (state_->normalized_matcher.empty()) return write_words(normal);
    return state_->normalized_matcher.split(normal.bytes,
                                            [&](std::size_t begin, std::size_t end, std::int32_t id) {
                                              const TextPiece part = normal.part(begin, end);
                                              return id < 0 ? write_words(part) : emit_added(id, part);
                                            });
  }

  bool write_words(const TextPiece& piece) {
    return state_->pre_tokenizer.split(piece, pre_tokenizer_,
                                       [this](const TextPiece& word) { return emit_word(word); });
  }

  bool emit_added(std::int32_t id, const TextPiece& piece) {
    out_->ids.push_back(id);
    if (full_) {
      TextSpan span{piece.spans[0].begin, piece.spans[piece.bytes.size() - 1].end};
      // The text counts, which is more than the token where that takes white space along.
      if (state_->post_processor.trim_offsets)
        trim_span(piece.bytes, out_->ids.size() == 1, state_->post_processor, span);
      out_->offsets.push_back(span);
      out_->word_ids.push_back(take_word());
    }
    return out_->ids.size() <= limit_;
  }

  bool emit_word(const TextPiece& word) {
    if (word.bytes.size() > TokenCache::longest_word) {
      tokenize_word(state_->model, state_->vocabulary, word.bytes, scratch_);
      emit_parts(word, scratch_.bpe.parts.data(), scratch_.bpe.parts.size());
    } else {
      const std::uint64_t hash = hash_bytes(word.bytes);
      std::size_t count = 0;
      const TokenPart* parts = cache_.find(word.bytes, state_->serial, hash, count);
      if (!parts) {
        tokenize_word(state_->model, state_->vocabulary, word.bytes, scratch_);
        parts = scratch_.bpe.parts.data();
        count = scratch_.bpe.parts.size();
        cache_.put(word.bytes, state_->serial, hash, scratch_.bpe.parts);
      }
      emit_parts(word, parts, count);
    }
    return out_->ids.size() <= limit_;
  }

  void emit_parts(const TextPiece& word, const TokenPart* parts, std::size_t count) {
    for (std::size_t at = 0; at < count; ++at) out_->ids.push_back(parts[at].id);
    if (!full_) return;
    out_->word_ids.resize(out_->ids.size(), take_word());
    const std::size_t last = word.bytes.size() - 1;
    std::size_t begin = 0;
    for (std::size_t at = 0; at < count; ++at) {
      if (parts[at].length == TokenPart::as_before) {
        out_->offsets.push_back(TextSpan(out_->offsets.back()));
        continue;
      }
      const std::size_t end = begin + parts[at].length;
      const std::int32_t first = word.spans[std::min(begin, last)].begin;
      out_->offsets.push_back({first, end > begin ? word.spans[std::min(end - 1, last)].end : first});
      begin = end;
    }
  }

  std::int32_t take_word() { return fixed_word_ >= 0 ? fixed_word_ : next_word_++; }

  const TokenizerState* state_ = nullptr;
  Pieces* out_ = nullptr;
  std::size_t limit_ = std::numeric_limits<std::size_t>::max();
  bool full_ = false;
  std::int32_t fixed_word_ = -1;
  std::int32_t next_word_ = 0;
  AlignedText source_, normalized_;
  PreTokenizer::Scratch pre_tokenizer_;
  ModelScratch scratch_;
  TokenCache cache_;
};

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/tokenizer_encode.inl.hpp>
#endif
