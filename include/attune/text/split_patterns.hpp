#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <string_view>

#include <attune/text/regex_chars.hpp>
#include <attune/text/utf8.hpp>

namespace attune::detail {

/// Regular expressions that so many tokenizers split texts with that they have a scanner of their own,
/// several times as fast as a general engine. Every text is covered by their matches.
enum class SplitPattern {
  gpt2,    ///< also what ByteLevel splits with
  llama3,  ///< digits in threes
  qwen2,   ///< as llama3, digits one by one
};

inline constexpr std::string_view gpt2_split_regex =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view llama3_split_regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
inline constexpr std::string_view qwen2_split_regex =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

/// Finds the ends of matches in one valid text.
class SplitScanner {
 public:
  explicit SplitScanner(std::string_view text)
      : chars_(RegexChars::table()), data_(text.data()), size_(text.size()) {}

  /// The end of the match that begins at `at`, which is before the end of the text.
  std::size_t next(SplitPattern pattern, std::size_t at) const {
    return pattern == SplitPattern::gpt2 ? next_gpt2(at) : next_llama3(at, pattern == SplitPattern::llama3);
  }

 private:
  struct Char {
    unsigned classes;
    std::size_t end;
  };
  static constexpr unsigned graphic = regex_letter | regex_number | regex_space;  // none of these: "other"

  Char char_at(std::size_t at) const {
    const auto byte = static_cast<unsigned char>(data_[at]);
    if (byte < 0x80) return {chars_.ascii_classes(byte), at + 1};
    const CodePoint next = decode_valid_utf8(data_ + at);
    return {chars_.classes(next.value), at + static_cast<std::size_t>(next.bytes)};
  }
  bool is(std::size_t at, char letter) const { return at < size_ && data_[at] == letter; }
  bool is_newline(std::size_t at) const { return is(at, '\n') || is(at, '\r'); }

  std::size_t skip(std::size_t at, unsigned wanted) const {
    while (at < size_) {
      const Char next = char_at(at);
      if ((next.classes & wanted) == 0) break;
      at = next.end;
    }
    return at;
  }
  std::size_t skip_others(std::size_t at) const {
    while (at < size_) {
      const Char next = char_at(at);
      if ((next.classes & graphic) != 0) break;
      at = next.end;
    }
    return at;
  }

  /// \s+(?!\S)|\s+ where white space begins: all of it at the end of the text, otherwise all but the last.
  std::size_t white_space(std::size_t at) const {
    std::size_t end = at, last = at;
    while (end < size_) {
      const Char next = char_at(end);
      if ((next.classes & regex_space) == 0) break;
      last = end;
      end = next.end;
    }
    return end == size_ || last == at ? end : last;
  }

  /// Letters behind an apostrophe at `at` that make an English ending; `at` when there is none.
  std::size_t contraction(std::size_t at, bool any_case) const {
    if (at + 1 >= size_) return at;
    const auto lower = [&](std::size_t place) {
      const char letter = place < size_ ? data_[place] : '\0';
      return any_case && letter >= 'A' && letter <= 'Z' ? static_cast<char>(letter - 'A' + 'a') : letter;
    };
    const char first = lower(at + 1);
    if (first == 's' || first == 't' || first == 'm' || first == 'd') return at + 2;
    const char second = lower(at + 2);
    if ((first == 'r' && second == 'e') || (first == 'v' && second == 'e') || (first == 'l' && second == 'l'))
      return at + 3;
    // The long s is a lower case of S.
    if (any_case && at + 2 < size_ && data_[at + 1] == '\xC5' && data_[at + 2] == '\xBF') return at + 3;
    return at;
  }

  std::size_t next_gpt2(std::size_t at) const {
    if (data_[at] == '\'') {
      const std::size_t end = contraction(at, false);
      if (end != at) return end;
    }
    const std::size_t word = at + (data_[at] == ' ' ? 1 : 0);
    if (word == size_) return word;
    const Char first = char_at(word);
    if ((first.classes & regex_letter) != 0) return skip(first.end, regex_letter);
    if ((first.classes & regex_number) != 0) return skip(first.end, regex_number);
    if ((first.classes & regex_space) == 0) return skip_others(first.end);
    return white_space(at);
  }

  std::size_t next_llama3(std::size_t at, bool digits_in_threes) const {
    if (data_[at] == '\'') {
      const std::size_t end = contraction(at, true);
      if (end != at) return end;
    }
    const Char first = char_at(at);
    if ((first.classes & regex_letter) != 0) return skip(first.end, regex_letter);
    if ((first.classes & regex_number) != 0) {
      std::size_t end = first.end;
      for (int count = 1; digits_in_threes && count < 3 && end < size_; ++count) {
        const Char next = char_at(end);
        if ((next.classes & regex_number) == 0) break;
        end = next.end;
      }
      return end;
    }
    if (first.end < size_ && !is_newline(at)) {
      const Char second = char_at(first.end);
      if ((second.classes & regex_letter) != 0) return skip(second.end, regex_letter);
      if (data_[at] == ' ' && (second.classes & graphic) == 0) return with_newlines(skip_others(second.end));
    }
    if ((first.classes & regex_space) == 0) return with_newlines(skip_others(first.end));
    // \s*[\r\n]+ reaches to the last line end in the white space.
    std::size_t newline = at;
    for (std::size_t end = at; end < size_;) {
      const Char next = char_at(end);
      if ((next.classes & regex_space) == 0) break;
      if (is_newline(end)) newline = next.end;
      end = next.end;
    }
    return newline != at ? newline : white_space(at);
  }
  std::size_t with_newlines(std::size_t at) const {
    while (is_newline(at)) ++at;
    return at;
  }

  const RegexChars& chars_;
  const char* data_;
  std::size_t size_;
};

}  // namespace attune::detail
