#pragma once

#include <attune/text/added_tokens.hpp>
#include <attune/text/unicode.hpp>
#include <attune/text/unicode_table.hpp>
#include <attune/text/utf8.hpp>

namespace attune::detail {

/// The last code point of valid text that is not empty.
ATTUNE_INLINE CodePoint last_code_point(std::string_view text) {
  std::size_t at = text.size() - 1;
  while ((static_cast<unsigned char>(text[at]) & 0xC0) == 0x80) --at;
  return decode_valid_utf8(text.data() + at);
}

ATTUNE_INLINE std::size_t leading_space(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    const CodePoint next = decode_valid_utf8(text.data() + at);
    if ((unicode_classes(next.value) & unicode_space) == 0) break;
    at += static_cast<std::size_t>(next.bytes);
  }
  return at;
}

ATTUNE_INLINE std::size_t trailing_space(std::string_view text) {
  const std::size_t size = text.size();
  while (!text.empty()) {
    const CodePoint last = last_code_point(text);
    if ((unicode_classes(last.value) & unicode_space) == 0) break;
    text.remove_suffix(static_cast<std::size_t>(last.bytes));
  }
  return size - text.size();
}

ATTUNE_INLINE bool begins_with_word_char(std::string_view text) {
  return !text.empty() && (unicode_classes(decode_valid_utf8(text.data()).value) & unicode_word) != 0;
}

ATTUNE_INLINE bool ends_with_word_char(std::string_view text) {
  return !text.empty() && (unicode_classes(last_code_point(text).value) & unicode_word) != 0;
}

}  // namespace attune::detail
