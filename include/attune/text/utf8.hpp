#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>

namespace attune::detail {

/// One code point and how many bytes it took.
struct CodePoint {
  char32_t value;
  int bytes;
};

/// Reads the first code point of text that is known to be valid and not empty.
inline CodePoint decode_valid_utf8(const char* text) {
  const auto byte = [text](int at) { return static_cast<char32_t>(static_cast<unsigned char>(text[at])); };
  const char32_t lead = byte(0);
  if (lead < 0x80) return {lead, 1};
  if (lead < 0xE0) return {(lead & 0x1F) << 6 | (byte(1) & 0x3F), 2};
  if (lead < 0xF0) return {(lead & 0x0F) << 12 | (byte(1) & 0x3F) << 6 | (byte(2) & 0x3F), 3};
  return {(lead & 0x07) << 18 | (byte(1) & 0x3F) << 12 | (byte(2) & 0x3F) << 6 | (byte(3) & 0x3F), 4};
}

/// Writes a code point (not a surrogate, at most U+10FFFF) and returns the number of bytes, at most 4.
inline int encode_utf8(char32_t code_point, char* out) {
  const auto put = [out](int at, char32_t value) {
    out[at] = static_cast<char>(static_cast<unsigned char>(value));
  };
  if (code_point < 0x80) {
    put(0, code_point);
    return 1;
  }
  if (code_point < 0x800) {
    put(0, 0xC0 | code_point >> 6);
    put(1, 0x80 | (code_point & 0x3F));
    return 2;
  }
  if (code_point < 0x10000) {
    put(0, 0xE0 | code_point >> 12);
    put(1, 0x80 | (code_point >> 6 & 0x3F));
    put(2, 0x80 | (code_point & 0x3F));
    return 3;
  }
  put(0, 0xF0 | code_point >> 18);
  put(1, 0x80 | (code_point >> 12 & 0x3F));
  put(2, 0x80 | (code_point >> 6 & 0x3F));
  put(3, 0x80 | (code_point & 0x3F));
  return 4;
}

inline void append_utf8(std::string& text, char32_t code_point) {
  char bytes[4];
  text.append(bytes, static_cast<std::size_t>(encode_utf8(code_point, bytes)));
}

/// How many bytes at the begin of the text (not empty) form a code point: positive when they are valid;
/// otherwise minus the length of the maximal ill-formed part, which counts as one replacement character
/// (Unicode 3.9, U+FFFD substitution of maximal subparts).
inline int utf8_step(const char* text, std::size_t size) {
  const auto byte = [text](std::size_t at) { return static_cast<unsigned char>(text[at]); };
  const unsigned lead = byte(0);
  if (lead < 0x80) return 1;
  if (lead < 0xC2 || lead > 0xF4) return -1;
  const int length = lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
  const unsigned low = lead == 0xE0 ? 0xA0 : lead == 0xF0 ? 0x90 : 0x80;  // no overlong forms
  const unsigned high = lead == 0xED   ? 0x9F
                        : lead == 0xF4 ? 0x8F
                                       : 0xBF;  // no surrogates, nothing past U+10FFFF
  for (int at = 1; at < length; ++at) {
    if (static_cast<std::size_t>(at) >= size) return -at;
    const unsigned next = byte(static_cast<std::size_t>(at));
    if (at == 1 ? next < low || next > high : next < 0x80 || next > 0xBF) return -at;
  }
  return length;
}

/// The length of the longest valid prefix.
inline std::size_t valid_utf8_prefix(std::string_view text) {
  std::size_t at = 0;
  while (at < text.size()) {
    if (at + 8 <= text.size()) {
      std::uint64_t word;
      std::memcpy(&word, text.data() + at, 8);
      if ((word & 0x8080808080808080u) == 0) {
        at += 8;
        continue;
      }
    }
    const int step = utf8_step(text.data() + at, text.size() - at);
    if (step < 0) break;
    at += static_cast<std::size_t>(step);
  }
  return at;
}

/// A copy in which every ill-formed part is U+FFFD.
inline std::string replace_invalid_utf8(std::string_view text) {
  std::string valid;
  while (!text.empty()) {
    const std::size_t good = valid_utf8_prefix(text);
    valid.append(text.substr(0, good));
    text.remove_prefix(good);
    if (text.empty()) break;
    valid += "\xEF\xBF\xBD";
    text.remove_prefix(static_cast<std::size_t>(-utf8_step(text.data(), text.size())));
  }
  return valid;
}

/// The number of code points of valid text.
inline std::int64_t count_code_points(std::string_view text) {
  std::int64_t count = 0;
  for (const char byte : text) count += (static_cast<unsigned char>(byte) & 0xC0) != 0x80;
  return count;
}

}  // namespace attune::detail
