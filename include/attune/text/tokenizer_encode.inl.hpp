#pragma once

#include <algorithm>
#include <utility>
#include <vector>

#include <attune/text/tokenizer_encode.hpp>
#include <attune/text/utf8.hpp>

namespace attune::detail {

/// How many characters of white space a token, as the vocabulary spells it, begins and ends with.
ATTUNE_INLINE std::pair<std::int32_t, std::int32_t> token_spaces(std::string_view token) {
  std::vector<bool> spaces;
  for (std::size_t at = 0; at < token.size();) {
    const CodePoint next = decode_valid_utf8(token.data() + at);
    spaces.push_back(next.value == ByteAlphabet::get().character(' ') ||
                     is_delimiter(PreTokenizerStep::Finder::space, next.value));
    at += static_cast<std::size_t>(next.bytes);
  }
  const auto leading = std::find(spaces.begin(), spaces.end(), false) - spaces.begin();
  const auto trailing = std::find(spaces.rbegin(), spaces.rend(), false) - spaces.rbegin();
  return {static_cast<std::int32_t>(leading), static_cast<std::int32_t>(trailing)};
}

ATTUNE_INLINE void trim_span(std::string_view token, bool first, const PostProcessor& how, TextSpan& span) {
  auto [leading, trailing] = token_spaces(token);
  // One space before the text was added there.
  if (leading == 1 && (first || span.begin == 0) && how.add_prefix_space) leading = 0;
  span.begin = std::min(span.begin + leading, span.end);
  if (trailing > 0 && span.end >= trailing) span.end = std::max(span.end - trailing, span.begin);
}

}  // namespace attune::detail
