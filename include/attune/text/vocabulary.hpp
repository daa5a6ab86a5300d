#pragma once

#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <attune/core/inline.hpp>

namespace attune::detail {

/// Mixes the bytes of a short text; not meant to resist an attacker.
inline std::uint64_t hash_bytes(std::string_view text) {
  std::uint64_t hash = text.size() * 0x9E3779B97F4A7C15ull;
  const char* data = text.data();
  std::size_t left = text.size();
  const auto mix = [&hash](std::uint64_t word) {
    hash = (hash ^ word) * 0xC2B2AE3D27D4EB4Full;
    hash ^= hash >> 32;
  };
  for (; left >= 8; left -= 8, data += 8) {
    std::uint64_t word;
    std::memcpy(&word, data, 8);
    mix(word);
  }
  if (left > 0) {
    std::uint64_t word = 0;
    std::memcpy(&word, data, left);
    mix(word);
  }
  return hash * 0x9E3779B97F4A7C15ull;
}

/// One token of a word, and how many of the word's bytes it stands for.
struct TokenPart {
  /// For `length`: the token stands for the same bytes as the one before it.
  static constexpr std::uint32_t as_before = 0xFFFFFFFFu;

  std::int32_t id;
  std::uint32_t length;
};

/// Tokens with their ids, found by either.
class Vocabulary {
 public:
  /// Of equal tokens the last one counts when an id is asked for. `id` >= 0.
  void add(std::string_view token, std::int32_t id);
  /// Call when all are added. Throws ConfigError when ids are so far apart that a table of all ids up to the
  /// largest would be mostly empty.
  void finish(const std::string& where);

  /// The id of exactly this token, or -1.
  std::int32_t find(std::string_view token) const;
  bool has(std::int32_t id) const {
    return id >= 0 && static_cast<std::size_t>(id) < by_id_.size() &&
           by_id_[static_cast<std::size_t>(id)] != none;
  }
  /// The token of an id that is there.
  std::string_view token(std::int32_t id) const { return at(by_id_[static_cast<std::size_t>(id)]); }

  std::size_t size() const { return entries_.size(); }
  /// One more than the largest id.
  std::int64_t id_end() const { return static_cast<std::int64_t>(by_id_.size()); }

 private:
  static constexpr std::uint32_t none = 0xFFFFFFFFu;
  struct Entry {
    std::uint64_t begin;
    std::uint32_t length;
    std::int32_t id;
  };
  std::string_view at(std::uint32_t entry) const {
    return std::string_view(bytes_).substr(entries_[entry].begin, entries_[entry].length);
  }
  std::size_t first_slot(std::string_view token) const {
    return static_cast<std::size_t>(hash_bytes(token) >> shift_);
  }

  std::string bytes_;
  std::vector<Entry> entries_;
  std::vector<std::uint32_t> by_id_;  // entry numbers
  std::vector<std::uint32_t> slots_;  // entry numbers, open addressing
  int shift_ = 0;
};

/// GPT-2's alphabet: each byte has a printable character that stands for it in the vocabulary.
class ByteAlphabet {
 public:
  static const ByteAlphabet& get();
  char32_t character(unsigned char byte) const { return characters_[byte]; }
  /// The byte of a character, or -1.
  int byte(char32_t character) const { return character < 0x180 ? bytes_[character] : -1; }
  /// The bytes that a token stands for; false when a character is not in the alphabet.
  bool decode(std::string_view token, std::string& out) const;
  std::string encode(std::string_view bytes) const;

 private:
  ByteAlphabet();
  char32_t characters_[256];
  std::int16_t bytes_[0x180];
};

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/vocabulary.inl.hpp>
#endif
