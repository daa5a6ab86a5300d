#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

#include <attune/core/error.hpp>
#include <attune/core/file.hpp>
#include <attune/data/table.hpp>

namespace attune::detail {

ATTUNE_INLINE FormatError line_error(const std::string& file, std::int64_t line, const std::string& what) {
  FormatError error(file, -1, "line " + std::to_string(line) + ": " + what);
  error.offset = line;
  return error;
}

/// The length of the well-formed sequence at the start of `text` (not empty); 0 when it is ill-formed, and
/// then `skip` is the length of the longest part that could have begun a sequence (at least 1). Table 3-7 of
/// the Unicode standard.
inline std::size_t utf8_sequence(std::string_view text, std::size_t& skip) {
  const auto byte = [&](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned lead = byte(0);
  skip = 1;
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return 0;
  const std::size_t length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  unsigned low = 0x80, high = 0xBF;  // the range of the second byte
  if (lead == 0xE0) low = 0xA0;      // overlong
  if (lead == 0xED) high = 0x9F;     // surrogates
  if (lead == 0xF0) low = 0x90;      // overlong
  if (lead == 0xF4) high = 0x8F;     // above U+10FFFF
  for (std::size_t at = 1; at < length; ++at) {
    if (at >= text.size() || byte(at) < low || byte(at) > high) return 0;
    low = 0x80;
    high = 0xBF;
    skip = at + 1;
  }
  return length;
}

ATTUNE_INLINE std::string repair_utf8(std::string text) {
  std::size_t skip = 0;
  std::size_t at = 0;
  const std::string_view whole = text;
  while (at < text.size()) {
    const std::size_t length = utf8_sequence(whole.substr(at), skip);
    if (length == 0) break;
    at += length;
  }
  if (at == text.size()) return text;
  std::string repaired(text, 0, at);
  while (at < text.size()) {
    const std::size_t length = utf8_sequence(whole.substr(at), skip);
    if (length == 0) {
      repaired += "\xEF\xBF\xBD";
      at += skip;
    } else {
      repaired.append(text, at, length);
      at += length;
    }
  }
  return repaired;
}

}  // namespace attune::detail
