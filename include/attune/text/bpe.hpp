#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/text/vocabulary.hpp>

namespace attune::detail {

struct BpeOptions {
  bool byte_level = false;     ///< words are bytes, tokens are written in GPT-2's alphabet
  bool byte_fallback = false;  ///< an unknown character becomes the tokens <0x00> .. <0xFF> of its bytes
  bool ignore_merges = false;  ///< a word that is a token is that token, however it would be merged
  bool fuse_unk = false;       ///< unknown characters side by side become one unknown token
  std::int32_t unk_id = -1;    ///< -1: unknown characters vanish
  std::string continuing_subword_prefix = {};
  std::string end_of_word_suffix = {};
};

/// Byte-pair encoding: the adjacent pair of lowest rank, of equal ones the leftmost, becomes one symbol,
/// until no pair is left that merges.
class BpeModel {
 public:
  using Merge = std::pair<std::int32_t, std::int32_t>;

  /// Buffers of one thread.
  struct Scratch {
    struct Symbol {
      std::int32_t id;
      std::uint32_t length;  // bytes of the word; 0: merged into another
      std::int32_t previous, next;
    };
    struct Candidate {
      std::uint32_t rank;
      std::int32_t position;  // of the left symbol
      std::int32_t left, right, merged;
    };
    std::vector<TokenPart> parts;
    std::vector<std::uint32_t> ranks;   // by symbol: of it and the next one
    std::vector<std::int32_t> results;  // by symbol: what the two become
    std::vector<Symbol> symbols;
    std::vector<Candidate> heap;
    std::string text;
  };

  /// Merges by ascending rank, as ids; of equal pairs the last one counts. Throws FormatError when the two
  /// tokens of a merge do not make a token.
  BpeModel(const Vocabulary& vocabulary, const std::vector<Merge>& merges, BpeOptions options,
           const std::string& where);

  /// The tokens of a word (not empty), in scratch.parts.
  void tokenize(const Vocabulary& vocabulary, std::string_view word, Scratch& scratch) const;

  const BpeOptions& options() const { return options_; }

 private:
  static constexpr std::uint32_t no_rank = 0xFFFFFFFFu;
  static constexpr std::uint64_t no_pair = ~std::uint64_t{0};
  struct Slot {
    std::uint64_t pair = no_pair;
    std::uint32_t rank = no_rank;
    std::int32_t merged = -1;
  };

  static std::uint64_t pair_of(std::int32_t left, std::int32_t right) {
    return std::uint64_t{static_cast<std::uint32_t>(left)} << 32 | static_cast<std::uint32_t>(right);
  }
  /// Where a pair stands in slots_, or where it would be put.
  std::size_t slot_of(std::uint64_t pair) const {
    std::size_t slot = static_cast<std::size_t>(pair * 0x9E3779B97F4A7C15ull >> shift_);
    while (slots_[slot].pair != pair && slots_[slot].pair != no_pair) slot = (slot + 1) & (slots_.size() - 1);
    return slot;
  }
  const Slot& find(std::int32_t left, std::int32_t right) const {
    return slots_[slot_of(pair_of(left, right))];
  }
  void put_bytes(std::string_view word, Scratch& scratch) const;
  void put_characters(const Vocabulary& vocabulary, std::string_view word, Scratch& scratch) const;
  void merge_short(Scratch& scratch) const;
  void merge_long(Scratch& scratch) const;

  BpeOptions options_;
  std::vector<Slot> slots_;
  int shift_ = 0;
  /// By byte and by where it stands in the word (first: 1, last: 2): its token, or -1.
  std::array<std::array<std::int32_t, 256>, 4> byte_ids_{};
  std::array<std::int32_t, 256> fallback_ids_{};
  Vocabulary words_;  // for ignore_merges at byte level: tokens as bytes
};

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/bpe.inl.hpp>
#endif
