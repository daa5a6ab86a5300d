#pragma once

#include <algorithm>

#include <attune/text/unicode_table.hpp>
#include <attune/text/word_split.hpp>

namespace attune::detail {

ATTUNE_INLINE CharKind pre_tokenizer_kind(char32_t code_point) {
  const std::uint8_t classes = unicode_classes(code_point);
  if ((classes & unicode_space) != 0) return CharKind::space;
  return (classes & unicode_punctuation) != 0 ? CharKind::same_single : CharKind::same;
}

/// NFD. Where a character becomes several, or combining characters change places, the results take the spans
/// of the text's characters one after the other, as Hugging Face's normalised strings do.
ATTUNE_INLINE NormalizedText decompose_text(const NormalizedText& text) {
  struct Part {
    char32_t value;
    int order;
    bool first;  // of those that one character became
  };
  std::vector<Part> parts;
  std::size_t pending = 0;  // where the characters begin that may still change places
  const auto sort_pending = [&] {
    std::stable_sort(parts.begin() + static_cast<std::ptrdiff_t>(pending), parts.end(),
                     [](const Part& a, const Part& b) { return a.order < b.order; });
  };
  for (const char32_t value : text.chars) {
    bool first = true;
    for (const char32_t part : unicode_decompose(value)) {
      const int order = unicode_order(part);
      if (order == 0) sort_pending();
      parts.push_back({part, order, first});
      if (order == 0) pending = parts.size();
      first = false;
    }
  }
  sort_pending();
  NormalizedText result;
  std::size_t source = 0;
  for (const Part& part : parts) {
    if (part.first) ++source;
    result.chars.push_back(part.value);
    result.spans.push_back(text.spans[source - 1]);
  }
  return result;
}

ATTUNE_INLINE NormalizedText normalize(const BertCharSettings& settings, std::string_view text,
                                       std::int32_t position) {
  NormalizedText result;
  const auto put = [&result](char32_t value, TextSpan span) {
    result.chars.push_back(value);
    result.spans.push_back(span);
  };
  for (std::size_t at = 0; at < text.size(); ++position) {
    const CodePoint next = decode_valid_utf8(text.data() + at);
    at += static_cast<std::size_t>(next.bytes);
    const std::uint8_t classes = unicode_classes(next.value);
    char32_t value = next.value;
    if (settings.clean_text) {
      if (value == 0 || value == 0xFFFD || (classes & unicode_control) != 0) continue;
      if ((classes & unicode_space) != 0) value = U' ';
    }
    const bool alone = settings.split_ideographs && (classes & unicode_ideograph) != 0;
    const TextSpan span{position, position + 1};
    if (alone) put(U' ', span);
    put(value, span);
    if (alone) put(U' ', span);
  }
  if (settings.strip_accents) {
    const NormalizedText decomposed = decompose_text(result);
    result = {};
    for (std::size_t at = 0; at < decomposed.chars.size(); ++at)
      if ((unicode_classes(decomposed.chars[at]) & unicode_mark) == 0)
        put(decomposed.chars[at], decomposed.spans[at]);
  }
  if (settings.lower_case) {
    const NormalizedText upper = std::move(result);
    result = {};
    for (std::size_t at = 0; at < upper.chars.size(); ++at)
      for (const char32_t lower : unicode_lower(upper.chars[at])) put(lower, upper.spans[at]);
  }
  return result;
}

}  // namespace attune::detail
