#pragma once

#include <array>
#include <cstdint>

#include <attune/core/inline.hpp>

namespace attune::detail {

/// What BERT's normaliser and pre-tokenizer know about a code point: bits of UnicodeClass
/// (unicode_table.hpp).
std::uint8_t unicode_classes(char32_t code_point);

/// A few code points in order.
struct CodePoints {
  std::array<char32_t, 8> values{};
  int count = 0;
  void push(char32_t value) { values[static_cast<std::size_t>(count++)] = value; }
  const char32_t* begin() const { return values.data(); }
  const char32_t* end() const { return values.data() + count; }
};

/// The lower case of one code point, without regard to its neighbours: one code point, or two for U+0130.
CodePoints unicode_lower(char32_t code_point);

/// The full canonical decomposition (NFD) of one code point; itself when it has none.
CodePoints unicode_decompose(char32_t code_point);

/// The place of a combining character in the canonical order, from 1; 0 for characters that are never moved.
int unicode_order(char32_t code_point);

/// Whether all code points first .. last are their own lower case and decomposition and are never moved.
bool unicode_stays(char32_t first, char32_t last);

inline bool is_hangul_syllable(char32_t code_point) { return code_point >= 0xAC00 && code_point < 0xD7A4; }

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/unicode.inl.hpp>
#endif
