#pragma once

#include <array>
#include <cstdint>
#include <limits>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/text/bert_tokenizer_state.hpp>
#include <attune/text/token_rows.hpp>
#include <attune/text/word_split.hpp>

namespace attune::detail {

/// The ids of short words that were looked up before. Texts repeat themselves: most lookups end here.
class WordCache {
 public:
  static constexpr std::size_t longest_word = 16;  // bytes
  static constexpr std::size_t most_ids = 3;
  struct Entry {
    std::uint64_t low = 0, high = 0;                     // the word's bytes
    std::uint32_t owner = 0;                             // the tokenizer's serial; 0: free
    std::array<std::int32_t, most_ids> ids{-1, -1, -1};  // -1 behind the last
  };

  /// The entry of this word, or one to be filled for it (its `owner` and bytes are then others).
  Entry& slot(std::uint64_t low, std::uint64_t high, std::uint32_t owner) {
    if (entries_.empty()) entries_.resize(ways << bits);
    const std::uint64_t mixed = (low ^ (high * 0x9E3779B97F4A7C15ull)) * 0xC2B2AE3D27D4EB4Full;
    const std::uint64_t set = (mixed ^ mixed >> 32) * 0x9E3779B97F4A7C15ull >> (64 - bits);
    Entry* const entries = entries_.data() + ways * static_cast<std::size_t>(set);
    const auto holds = [&](const Entry& entry) {
      return entry.low == low && entry.high == high && entry.owner == owner;
    };
    if (holds(entries[0])) return entries[0];
    // The last word used stays first, so that the other one makes room.
    std::swap(entries[0], entries[1]);
    return entries[0];
  }

 private:
  static constexpr std::size_t ways = 2;  // in one cache line
  static constexpr int bits = 13;
  std::vector<Entry> entries_;
};

/// Turns texts into pieces. One per thread: it owns the buffers and the cache. `full` keeps offsets and word
/// numbers.
template <bool full>
class PieceWriter {
 public:
  /// Appends the pieces of `text` to `out`, stopping early once there are more than `limit` in `out`. All get
  /// the word number `fixed_word` when that is not negative, else they are counted.
  void write(const BertTokenizerState& state, std::string_view text, Pieces& out, std::size_t limit,
             std::int32_t fixed_word = -1) {
    state_ = &state;
    out_ = &out;
    limit_ = limit;
    fixed_word_ = fixed_word;
    next_word_ = 0;
    std::string repaired;
    if (valid_utf8_prefix(text) != text.size()) {
      repaired = replace_invalid_utf8(text);
      text = repaired;
    }
    std::size_t counted = 0;    // a byte number
    std::int32_t position = 0;  // its code point number
    state.raw_matcher.split(text, [&](std::size_t begin, std::size_t end, std::int32_t id) {
      if constexpr (full) {
        // Begins are not in order when two added tokens claim the same white space.
        const auto distance = [&](std::size_t from, std::size_t to) {
          return static_cast<std::int32_t>(count_code_points(text.substr(from, to - from)));
        };
        position += begin >= counted ? distance(counted, begin) : -distance(begin, counted);
        counted = begin;
      }
      const std::string_view part = text.substr(begin, end - begin);
      return id < 0 ? write_part(part, position) : emit_added(id, position, part);
    });
  }

 private:
  bool write_part(std::string_view text, std::int32_t position) {
    if (state_->normalized_matcher.empty()) {
      const std::size_t before = out_->ids.size();
      const std::int32_t word_before = next_word_;
      const SplitEnd end = split_words(*state_->chars, text, position, word_, [this] { return emit_word(); });
      if (end != SplitEnd::reorder) return end == SplitEnd::done;
      out_->resize(before, full);
      next_word_ = word_before;
    }
    return write_normalized(normalize(state_->chars->settings(), text, position));
  }

  bool write_normalized(const NormalizedText& text) {
    if (state_->normalized_matcher.empty())
      return split_normalized(text, 0, text.chars.size(), word_, [this] { return emit_word(); });
    std::string bytes;
    std::vector<std::size_t> char_of_byte;
    for (std::size_t at = 0; at < text.chars.size(); ++at) {
      append_utf8(bytes, text.chars[at]);
      char_of_byte.resize(bytes.size(), at);
    }
    char_of_byte.push_back(text.chars.size());
    return state_->normalized_matcher.split(bytes, [&](std::size_t begin, std::size_t end, std::int32_t id) {
      const std::size_t first = char_of_byte[begin], last = char_of_byte[end];
      if (id < 0) return split_normalized(text, first, last, word_, [this] { return emit_word(); });
      return emit(id, {text.spans[first].begin, text.spans[last - 1].end}, take_word());
    });
  }

  bool emit_added(std::int32_t id, std::int32_t position, std::string_view text) {
    std::int32_t end = position;
    if constexpr (full) end += static_cast<std::int32_t>(count_code_points(text));
    return emit(id, {position, end}, take_word());
  }

  bool emit_word() {
    const std::size_t before = out_->ids.size();
    const std::int32_t word = take_word();
    if constexpr (!full) {
      if (word_.bytes().size() <= WordCache::longest_word && state_->options.clean_text) return emit_cached();
    }
    state_->word_pieces(
        word_.bytes(), word_.chars(),
        [&](std::size_t begin, std::size_t end, std::int32_t id) {
          if constexpr (full)
            emit(id, {word_.spans()[begin].begin, word_.spans()[end - 1].end}, word);
          else
            out_->ids.push_back(id);
        },
        [&] { out_->resize(before, full); });
    return out_->ids.size() <= limit_;
  }

  /// Words hold no zero bytes once texts are cleaned, so the padded bytes name the word.
  bool emit_cached() {
    const auto [low, high] = word_.key();
    WordCache::Entry& entry = cache_.slot(low, high, state_->serial);
    if (entry.owner == state_->serial && entry.low == low && entry.high == high) {
      for (const std::int32_t id : entry.ids)
        if (id >= 0) out_->ids.push_back(id);
      return out_->ids.size() <= limit_;
    }
    const std::size_t before = out_->ids.size();
    state_->word_pieces(
        word_.bytes(), word_.chars(),
        [&](std::size_t, std::size_t, std::int32_t id) { out_->ids.push_back(id); },
        [&] { out_->ids.resize(before); });
    const std::size_t count = out_->ids.size() - before;
    if (count <= WordCache::most_ids) {
      entry = {.low = low, .high = high, .owner = state_->serial};
      for (std::size_t at = 0; at < count; ++at) entry.ids[at] = out_->ids[before + at];
    }
    return out_->ids.size() <= limit_;
  }

  bool emit(std::int32_t id, TextSpan span, std::int32_t word) {
    out_->ids.push_back(id);
    if constexpr (full) {
      out_->offsets.push_back(span);
      out_->word_ids.push_back(word);
    }
    return out_->ids.size() <= limit_;
  }

  std::int32_t take_word() { return fixed_word_ >= 0 ? fixed_word_ : next_word_++; }

  const BertTokenizerState* state_ = nullptr;
  Pieces* out_ = nullptr;
  std::size_t limit_ = std::numeric_limits<std::size_t>::max();
  std::int32_t fixed_word_ = -1;
  std::int32_t next_word_ = 0;
  WordBuffer<full> word_;
  WordCache cache_;
};

/// This thread's writer.
template <bool full>
PieceWriter<full>& thread_piece_writer() {
  thread_local PieceWriter<full> writer;
  return writer;
}

}  // namespace attune::detail
