#pragma once

#include <algorithm>

#include <attune/core/error.hpp>
#include <attune/text/precompiled.hpp>
#include <attune/text/utf8.hpp>

namespace attune::detail {

ATTUNE_INLINE std::string decode_base64(std::string_view text, const std::string& where) {
  constexpr std::string_view letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string bytes;
  std::uint32_t pending = 0;
  int bits = 0;
  while (!text.empty() && text.back() == '=') text.remove_suffix(1);
  for (const char letter : text) {
    const std::size_t value = letters.find(letter);
    if (value == std::string_view::npos)
      throw FormatError(where, -1, "precompiled_charsmap: expected base64");
    pending = pending << 6 | static_cast<std::uint32_t>(value);
    bits += 6;
    if (bits < 8) continue;
    bits -= 8;
    bytes += static_cast<char>(static_cast<unsigned char>(pending >> bits & 0xFF));
  }
  return bytes;
}

ATTUNE_INLINE PrecompiledMap::PrecompiledMap(std::string_view base64, const std::string& where)
    : grapheme_(Regex::grapheme()) {
  const std::string bytes = decode_base64(base64, where);
  const auto number = [&](std::size_t at) {
    std::uint32_t value = 0;
    for (std::size_t byte = 0; byte < 4; ++byte)
      value |= static_cast<std::uint32_t>(static_cast<unsigned char>(bytes[at + byte])) << (8 * byte);
    return value;
  };
  if (bytes.size() < 4) throw FormatError(where, -1, "precompiled_charsmap: expected at least 4 bytes");
  const std::size_t size = number(0);
  if (size % 4 != 0 || size == 0 || size > bytes.size() - 4)
    throw FormatError(where, -1,
                      "precompiled_charsmap: a trie of " + std::to_string(size) + " bytes in " +
                          std::to_string(bytes.size()));
  for (std::size_t at = 4; at < 4 + size; at += 4) units_.push_back(number(at));
  texts_ = bytes.substr(4 + size);
  if (valid_utf8_prefix(texts_) != texts_.size())
    throw FormatError(where, -1, "precompiled_charsmap: a replacement is not valid UTF-8");
}

ATTUNE_INLINE std::optional<std::string_view> PrecompiledMap::find(std::string_view text) const {
  // Bits of a unit: 0-7 label, 8 has a leaf, 9 and 10-30 offset; of a leaf: 0-30 value.
  const auto offset = [](std::uint32_t unit) { return (unit >> 10) << ((unit & (1u << 9)) >> 6); };
  std::uint32_t node = offset(units_[0]);
  for (const char letter : text) {
    const auto byte = static_cast<unsigned char>(letter);
    node ^= byte;
    if (byte == 0 || node >= units_.size()) return std::nullopt;
    const std::uint32_t unit = units_[node];
    if ((unit & (1u << 31 | 0xFFu)) != byte) return std::nullopt;
    node ^= offset(unit);
    if ((unit >> 8 & 1) == 0) continue;
    if (node >= units_.size()) return std::nullopt;
    const std::size_t begin = units_[node] & 0x7FFFFFFFu;
    if (begin >= texts_.size()) return std::string_view();
    return std::string_view(texts_).substr(begin, texts_.find('\0', begin) - begin);
  }
  return std::nullopt;
}

ATTUNE_INLINE void PrecompiledMap::apply(AlignedText& text) const {
  const std::string_view bytes = text.bytes();
  std::vector<CharChange> changes;
  changes.reserve(bytes.size());
  bool changed = false;
  const auto replace = [&](std::string_view from, std::string_view to) {
    changed = true;
    const auto difference = static_cast<std::int32_t>(count_code_points(to) - count_code_points(from));
    const std::size_t before = changes.size();
    for (std::size_t at = 0; at < to.size();) {
      const CodePoint next = decode_valid_utf8(to.data() + at);
      changes.push_back({next.value, 0});
      at += static_cast<std::size_t>(next.bytes);
    }
    if (difference > 0) {
      for (std::size_t at = changes.size() - static_cast<std::size_t>(difference); at < changes.size(); ++at)
        changes[std::max(at, before)].change = 1;
    } else if (difference < 0 && !changes.empty()) {
      changes.back().change += difference;
    }
  };
  constexpr std::size_t longest_grapheme = 5;  // bytes, of those that are looked up whole
  for (std::size_t at = 0; at < bytes.size();) {
    const bool simple = static_cast<unsigned char>(bytes[at]) < 0x80 && bytes[at] != '\r' &&
                        (at + 1 == bytes.size() || static_cast<unsigned char>(bytes[at + 1]) < 0x80);
    const std::size_t end = simple ? at + 1 : grapheme_.find(bytes, at).end;
    const std::string_view cluster = bytes.substr(at, end - at);
    if (cluster.size() <= longest_grapheme) {
      if (const auto found = find(cluster)) {
        replace(cluster, *found);
        at = end;
        continue;
      }
    }
    while (at < end) {
      const CodePoint next = decode_valid_utf8(bytes.data() + at);
      const std::string_view part = bytes.substr(at, static_cast<std::size_t>(next.bytes));
      if (const auto found = find(part))
        replace(part, *found);
      else
        changes.push_back({next.value, 0});
      at += part.size();
    }
  }
  if (changed) text.apply(changes);
}

}  // namespace attune::detail
