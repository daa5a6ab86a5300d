#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/text/bert_chars.hpp>
#include <attune/text/encoding.hpp>
#include <attune/text/utf8.hpp>

namespace attune::detail {

/// A word under construction: its normalised bytes and, when asked for, which code points of the text each
/// byte is from.
template <bool with_spans>
class WordBuffer {
 public:
  /// What may be read (not meant) behind the bytes of a word.
  static constexpr std::size_t slack = 16;

  std::string_view bytes() const { return {data_.data(), size_}; }
  std::int64_t chars() const { return chars_; }
  bool empty() const { return size_ == 0; }
  /// The bytes of a word of at most 16, with zeros behind.
  std::pair<std::uint64_t, std::uint64_t> key() {
    std::memset(data_.data() + size_, 0, slack);
    std::uint64_t words[2];
    std::memcpy(words, data_.data(), sizeof words);
    return {words[0], words[1]};
  }
  /// By byte.
  const std::vector<TextSpan>& spans() const { return spans_; }

  void clear() {
    size_ = 0;
    chars_ = 0;
    if constexpr (with_spans) spans_.clear();
  }
  void push(char32_t value, TextSpan span) {
    reserve(4);
    const int length = encode_utf8(value, data_.data() + size_);
    size_ += static_cast<std::size_t>(length);
    ++chars_;
    if constexpr (with_spans) spans_.insert(spans_.end(), static_cast<std::size_t>(length), span);
  }
  /// Takes ASCII letters from the begin of `text` as long as there are any, folded, and returns how many.
  std::size_t push_ascii(const BertCharTable& table, std::string_view text, std::int32_t position) {
    std::size_t taken = 0;
    while (taken < text.size()) {
      reserve(block);
      const std::size_t stop = std::min(text.size(), taken + block);
      char* out = data_.data() + size_;
      std::size_t at = taken;
      for (; at < stop; ++at) {
        const unsigned char folded = table.ascii_letter(static_cast<unsigned char>(text[at]));
        if (folded == 0) break;
        *out++ = static_cast<char>(folded);
      }
      size_ += at - taken;
      taken = at;
      if (at < stop) break;
    }
    chars_ += static_cast<std::int64_t>(taken);
    if constexpr (with_spans)
      for (std::size_t at = 0; at < taken; ++at) {
        const std::int32_t begin = position + static_cast<std::int32_t>(at);
        spans_.push_back({begin, begin + 1});
      }
    return taken;
  }

 private:
  static constexpr std::size_t block = 64;
  void reserve(std::size_t bytes) {
    if (size_ + bytes + slack > data_.size()) data_.resize(2 * (size_ + bytes + slack));
  }

  std::vector<char> data_;
  std::size_t size_ = 0;
  std::int64_t chars_ = 0;
  std::vector<TextSpan> spans_;
};

enum class SplitEnd {
  done,     ///< the whole text was split
  stopped,  ///< on_word returned false
  reorder,  ///< a character needs its neighbours: the caller must split this text with split_words_in_order
};

/// Normalises valid UTF-8 and splits it into words in one pass, calling on_word() -> bool (go on?) with each
/// word in `word`. `position` is the code point number of the text's begin.
template <bool with_spans, class OnWord>
SplitEnd split_words(const BertCharTable& table, std::string_view text, std::int32_t position,
                     WordBuffer<with_spans>& word, const OnWord& on_word) {
  word.clear();
  const auto finish = [&] {
    if (word.empty()) return true;
    const bool go_on = on_word();
    word.clear();
    return go_on;
  };
  const auto alone = [&](char32_t value, TextSpan span) {
    if (!finish()) return false;
    word.push(value, span);
    return finish();
  };
  while (!text.empty()) {
    const std::size_t letters = word.push_ascii(table, text, position);
    text.remove_prefix(letters);
    position += static_cast<std::int32_t>(letters);
    if (text.empty()) break;

    const CodePoint next = decode_valid_utf8(text.data());
    text.remove_prefix(static_cast<std::size_t>(next.bytes));
    const TextSpan span{position, position + 1};
    ++position;
    const std::uint32_t entry = table.entry(next.value);
    switch (BertCharTable::kind(entry)) {
      case CharKind::same:
        word.push(next.value, span);
        break;
      case CharKind::letter:
        word.push(BertCharTable::payload(entry), span);
        break;
      case CharKind::drop:
        break;
      case CharKind::space:
        if (!finish()) return SplitEnd::stopped;
        break;
      case CharKind::same_single:
        if (!alone(next.value, span)) return SplitEnd::stopped;
        break;
      case CharKind::single:
        if (!alone(BertCharTable::payload(entry), span)) return SplitEnd::stopped;
        break;
      case CharKind::several:
        for (const BertCharTable::Output& output : table.sequence(BertCharTable::payload(entry))) {
          if (output.kind == CharKind::same) {
            word.push(output.value, span);
          } else if (!(output.kind == CharKind::space ? finish() : alone(output.value, span))) {
            return SplitEnd::stopped;
          }
        }
        break;
      case CharKind::hangul:
        for (const char32_t letter : unicode_decompose(next.value)) word.push(letter, span);
        break;
      case CharKind::reorder:
        return SplitEnd::reorder;
    }
  }
  return finish() ? SplitEnd::done : SplitEnd::stopped;
}

/// A text after normalisation, with the code points that each of its characters is from.
struct NormalizedText {
  std::u32string chars;
  std::vector<TextSpan> spans;
};

/// The normaliser alone, step by step on the whole text: slower, and right for every text.
NormalizedText normalize(const BertCharSettings& settings, std::string_view text, std::int32_t position);

/// What the pre-tokenizer makes of a normalised character: same, same_single or space.
CharKind pre_tokenizer_kind(char32_t code_point);

/// The pre-tokenizer alone: calls on_word() -> bool for each word of characters begin .. end of a normalised
/// text.
template <bool with_spans, class OnWord>
bool split_normalized(const NormalizedText& text, std::size_t begin, std::size_t end,
                      WordBuffer<with_spans>& word, const OnWord& on_word) {
  word.clear();
  const auto finish = [&] {
    if (word.empty()) return true;
    const bool go_on = on_word();
    word.clear();
    return go_on;
  };
  for (std::size_t at = begin; at < end; ++at) {
    const CharKind kind = pre_tokenizer_kind(text.chars[at]);
    if (kind != CharKind::same && !finish()) return false;
    if (kind == CharKind::space) continue;
    word.push(text.chars[at], text.spans[at]);
    if (kind == CharKind::same_single && !finish()) return false;
  }
  return finish();
}

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/word_split.inl.hpp>
#endif
