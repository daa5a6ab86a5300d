#pragma once

#include <attune/text/pre_tokenizer.hpp>
#include <attune/text/unicode.hpp>
#include <attune/text/unicode_table.hpp>

namespace attune::detail {

ATTUNE_INLINE void change_piece(const PreTokenizerStep& step, const TextPiece& piece, AlignedText& out) {
  if (piece.spans)
    out.assign(piece.bytes, std::span(piece.spans, piece.bytes.size()));
  else
    out.assign(piece.bytes, false, 0);
  if (!step.space_becomes.empty()) {
    std::vector<std::size_t> parts;
    for (std::size_t at = 0; (at = piece.bytes.find(' ', at)) != std::string_view::npos; ++at) {
      parts.push_back(at);
      parts.push_back(at + 1);
    }
    out.replace(parts, step.space_becomes);
  }
  const bool wanted = step.prefix == PreTokenizerStep::Prefix::always ||
                      (step.prefix == PreTokenizerStep::Prefix::first && piece.at_start);
  if (wanted && out.bytes().substr(0, step.prefix_text.size()) != step.prefix_text)
    out.prepend(step.prefix_text);
}

ATTUNE_INLINE bool is_delimiter(PreTokenizerStep::Finder finder, char32_t code_point) {
  switch (finder) {
    case PreTokenizerStep::Finder::space:
      return (unicode_classes(code_point) & unicode_space) != 0;
    case PreTokenizerStep::Finder::punctuation:
      return (unicode_classes(code_point) & unicode_punctuation) != 0;
    default:
      return (RegexChars::table().classes(code_point) & unicode_numeric) != 0;
  }
}

ATTUNE_INLINE int word_kind(char32_t code_point) {
  const std::uint8_t classes = unicode_classes(code_point);
  return (classes & unicode_word) != 0 ? 1 : (classes & unicode_space) != 0 ? 0 : 2;
}

}  // namespace attune::detail
