#pragma once

#include <algorithm>

#include <attune/core/error.hpp>
#include <attune/text/utf8.hpp>
#include <attune/text/vocabulary.hpp>

namespace attune::detail {

ATTUNE_INLINE void Vocabulary::add(std::string_view token, std::int32_t id) {
  entries_.push_back({bytes_.size(), static_cast<std::uint32_t>(token.size()), id});
  bytes_.append(token);
}

ATTUNE_INLINE void Vocabulary::finish(const std::string& where) {
  std::int64_t end = 0;
  for (const Entry& entry : entries_) end = std::max(end, std::int64_t{entry.id} + 1);
  const std::int64_t most = 4 * static_cast<std::int64_t>(entries_.size()) + (1 << 20);
  if (end > most)
    throw ConfigError(where + ": expected ids below " + std::to_string(most) + " for " +
                      std::to_string(entries_.size()) + " tokens, found " + std::to_string(end - 1));
  by_id_.assign(static_cast<std::size_t>(end), none);
  int bits = 4;
  while ((std::size_t{1} << bits) < 2 * entries_.size()) ++bits;
  shift_ = 64 - bits;
  slots_.assign(std::size_t{1} << bits, none);
  for (std::uint32_t number = 0; number < entries_.size(); ++number) {
    by_id_[static_cast<std::size_t>(entries_[number].id)] = number;
    std::size_t slot = first_slot(at(number));
    while (slots_[slot] != none && at(slots_[slot]) != at(number)) slot = (slot + 1) & (slots_.size() - 1);
    slots_[slot] = number;
  }
}

ATTUNE_INLINE std::int32_t Vocabulary::find(std::string_view token) const {
  if (slots_.empty()) return -1;
  for (std::size_t slot = first_slot(token);; slot = (slot + 1) & (slots_.size() - 1)) {
    if (slots_[slot] == none) return -1;
    if (at(slots_[slot]) == token) return entries_[slots_[slot]].id;
  }
}

ATTUNE_INLINE ByteAlphabet::ByteAlphabet() {
  std::fill(std::begin(bytes_), std::end(bytes_), std::int16_t{-1});
  char32_t next = 0x100;  // for what is not printable itself
  for (int byte = 0; byte < 256; ++byte) {
    const bool printable = (byte >= '!' && byte <= '~') || (byte >= 0xA1 && byte <= 0xAC) || byte >= 0xAE;
    characters_[byte] = printable ? static_cast<char32_t>(byte) : next++;
    bytes_[characters_[byte]] = static_cast<std::int16_t>(byte);
  }
}

ATTUNE_INLINE const ByteAlphabet& ByteAlphabet::get() {
  static const ByteAlphabet made;
  return made;
}

ATTUNE_INLINE bool ByteAlphabet::decode(std::string_view token, std::string& out) const {
  for (std::size_t at = 0; at < token.size();) {
    const CodePoint next = decode_valid_utf8(token.data() + at);
    const int value = byte(next.value);
    if (value < 0) return false;
    out += static_cast<char>(static_cast<unsigned char>(value));
    at += static_cast<std::size_t>(next.bytes);
  }
  return true;
}

ATTUNE_INLINE std::string ByteAlphabet::encode(std::string_view bytes) const {
  std::string token;
  for (const char byte : bytes) append_utf8(token, character(static_cast<unsigned char>(byte)));
  return token;
}

}  // namespace attune::detail
