#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/text/unicode.hpp>

namespace attune::detail {

/// The settings of BERT's normaliser.
struct BertCharSettings {
  bool clean_text = true;
  bool split_ideographs = true;
  bool strip_accents = true;
  bool lower_case = true;
};

/// What normaliser and pre-tokenizer together make of one code point.
enum class CharKind : std::uint8_t {
  same,         ///< itself, as part of a word
  letter,       ///< another character, as part of a word
  drop,         ///< nothing
  space,        ///< the end of a word
  same_single,  ///< itself, as a word of its own
  single,       ///< another character, as a word of its own
  several,      ///< a sequence of the above
  hangul,       ///< a syllable that becomes two or three letters
  reorder,      ///< stays as a combining character that canonical ordering may move: its neighbours matter
};

/// The answers for every code point, made for one group of settings.
class BertCharTable {
 public:
  /// A character that comes out, or a space.
  struct Output {
    char32_t value;
    CharKind kind;  ///< same, same_single or space
  };

  explicit BertCharTable(const BertCharSettings& settings);
  /// The one table of these settings; made when first asked for.
  static std::shared_ptr<const BertCharTable> of(const BertCharSettings& settings);

  /// The kind, and in the bits above `payload_shift` the character (letter, single) or the sequence number
  /// (several).
  std::uint32_t entry(char32_t code_point) const {
    return entries_[static_cast<std::size_t>(blocks_[code_point >> block_bits]) << block_bits |
                    (code_point & (block_size - 1))];
  }
  static CharKind kind(std::uint32_t entry) { return static_cast<CharKind>(entry & 0xFu); }
  static char32_t payload(std::uint32_t entry) { return entry >> payload_shift; }
  const std::vector<Output>& sequence(char32_t number) const { return sequences_[number]; }

  /// For an ASCII character that belongs to a word, what it becomes; 0 for everything else.
  unsigned char ascii_letter(unsigned char byte) const { return ascii_letters_[byte]; }
  const BertCharSettings& settings() const { return settings_; }

 private:
  static constexpr int block_bits = 7;
  static constexpr std::uint32_t block_size = 1u << block_bits;
  static constexpr int payload_shift = 8;

  std::vector<Output> outputs_of(char32_t code_point) const;
  std::uint32_t make_entry(char32_t code_point, std::uint8_t classes);

  BertCharSettings settings_;
  std::vector<std::uint16_t> blocks_;   // by code point / block_size
  std::vector<std::uint32_t> entries_;  // distinct blocks
  std::vector<std::vector<Output>> sequences_;
  std::array<unsigned char, 256> ascii_letters_{};
};

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/bert_chars.inl.hpp>
#endif
