#pragma once

#include <algorithm>

#include <attune/text/added_tokens.hpp>
#include <attune/text/normalizer.hpp>
#include <attune/text/regex_chars.hpp>
#include <attune/text/unicode.hpp>
#include <attune/text/utf8.hpp>
#include <attune/text/word_split.hpp>

namespace attune::detail {

ATTUNE_INLINE void lower_case(AlignedText& text) {
  std::vector<CharChange> changes;
  const std::string_view bytes = text.bytes();
  changes.reserve(bytes.size());
  for (std::size_t at = 0; at < bytes.size();) {
    const CodePoint next = decode_valid_utf8(bytes.data() + at);
    at += static_cast<std::size_t>(next.bytes);
    std::int32_t change = 0;
    for (const char32_t lower : unicode_lower(next.value)) {
      changes.push_back({lower, change});
      change = 1;
    }
  }
  text.apply(changes);
}

ATTUNE_INLINE void strip_accents(AlignedText& text) {
  const RegexChars& table = RegexChars::table();
  std::string bytes;
  std::vector<TextSpan> spans;
  for (std::size_t at = 0; at < text.bytes().size();) {
    const CodePoint next = decode_valid_utf8(text.bytes().data() + at);
    const auto length = static_cast<std::size_t>(next.bytes);
    if ((table.classes(next.value) & unicode_combining) == 0) {
      bytes.append(text.bytes().substr(at, length));
      if (text.tracked()) spans.insert(spans.end(), length, text.spans()[at]);
    }
    at += length;
  }
  text.exchange(bytes, spans);
}

/// BERT's normaliser counts the characters that things are from; they are looked up in the text before.
ATTUNE_INLINE void normalize_bert(const BertCharSettings& settings, AlignedText& text) {
  const NormalizedText result = normalize(settings, text.bytes(), 0);
  std::vector<TextSpan> origins;
  for (std::size_t at = 0; text.tracked() && at < text.bytes().size();) {
    origins.push_back(text.spans()[at]);
    at += static_cast<std::size_t>(decode_valid_utf8(text.bytes().data() + at).bytes);
  }
  std::string bytes;
  std::vector<TextSpan> spans;
  for (std::size_t at = 0; at < result.chars.size(); ++at) {
    append_utf8(bytes, result.chars[at]);
    if (text.tracked())
      spans.resize(bytes.size(), {origins[static_cast<std::size_t>(result.spans[at].begin)].begin,
                                  origins[static_cast<std::size_t>(result.spans[at].end - 1)].end});
  }
  text.exchange(bytes, spans);
}

ATTUNE_INLINE void replace_matches(const NormalizerStep& step, AlignedText& text) {
  std::vector<std::size_t> parts;
  const std::string_view bytes = text.bytes();
  const auto add = [&](std::size_t begin, std::size_t end) {
    parts.push_back(begin);
    parts.push_back(end);
  };
  if (!step.regex) {
    if (step.literal.empty()) return;
    for (std::size_t at = 0; (at = bytes.find(step.literal, at)) != std::string_view::npos;
         at += step.literal.size())
      add(at, at + step.literal.size());
  } else {
    for (std::size_t from = 0; from < bytes.size();) {
      const TextRange found = step.regex->find(bytes, from);
      if (!found) break;
      const bool empty = found.begin == found.end;
      if (!empty || parts.empty() || parts.back() != found.begin) add(found.begin, found.end);
      from = found.end;
      if (empty && from < bytes.size())
        from += static_cast<std::size_t>(decode_valid_utf8(bytes.data() + from).bytes);
    }
  }
  text.replace(parts, step.text);
}

ATTUNE_INLINE bool Normalizer::keeps(std::string_view text) const {
  return std::all_of(steps.begin(), steps.end(), [&](const NormalizerStep& step) {
    return step.kind == NormalizerStep::Kind::form && keeps_form(step.form, text);
  });
}

ATTUNE_INLINE void Normalizer::apply(AlignedText& text) const {
  for (const NormalizerStep& step : steps) {
    switch (step.kind) {
      case NormalizerStep::Kind::form:
        if (!keeps_form(step.form, text.bytes())) text.apply(to_form(step.form, text.bytes()));
        break;
      case NormalizerStep::Kind::lowercase:
        lower_case(text);
        break;
      case NormalizerStep::Kind::strip: {
        const std::size_t begin = step.strip_left ? leading_space(text.bytes()) : 0;
        const std::size_t end =
            text.bytes().size() - (step.strip_right ? trailing_space(text.bytes().substr(begin)) : 0);
        text.cut(begin, end);
        break;
      }
      case NormalizerStep::Kind::strip_accents:
        strip_accents(text);
        break;
      case NormalizerStep::Kind::replace:
        replace_matches(step, text);
        break;
      case NormalizerStep::Kind::prepend:
        text.prepend(step.text);
        break;
      case NormalizerStep::Kind::bert:
        normalize_bert(step.bert, text);
        break;
      case NormalizerStep::Kind::precompiled:
        step.precompiled->apply(text);
        break;
    }
  }
}

}  // namespace attune::detail
