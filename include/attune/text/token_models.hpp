#pragma once

#include <cstdint>
#include <limits>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/text/bpe.hpp>
#include <attune/text/byte_trie.hpp>
#include <attune/text/vocabulary.hpp>

namespace attune::detail {

/// WordPiece: the longest token that a word begins with, then the longest that continues it, and so on; a
/// word that does not come out is the unknown token.
class WordPieceModel {
 public:
  struct Options {
    std::string unk_token = "[UNK]";
    std::string continuing_subword_prefix = "##";
    std::int64_t max_input_chars_per_word = 100;
  };

  /// Throws ConfigError when the vocabulary lacks the unknown token.
  WordPieceModel(const Vocabulary& vocabulary, Options options, const std::string& where);
  void tokenize(std::string_view word, std::vector<TokenPart>& parts) const;
  const Options& options() const { return options_; }

 private:
  Options options_;
  std::int32_t unk_id_;
  ByteTrie pieces_;
  std::uint32_t continuation_root_;
};

/// Unigram: the way to cut a word into tokens whose scores add up to the most.
class UnigramModel {
 public:
  struct Scratch {
    struct Node {
      double score;         // of the best way to here
      std::int32_t id;      // its last token
      std::uint32_t begin;  // where that begins
    };
    std::vector<Node> nodes;
    std::vector<TokenPart> reversed;
  };

  /// Scores by id. `unk_id` -1: there is none, and a word with an unknown character is an error.
  UnigramModel(const Vocabulary& vocabulary, std::vector<double> scores, std::int32_t unk_id,
               bool byte_fallback, const std::string& where);
  /// Throws ConfigError for an unknown character when there is no unknown token.
  void tokenize(const Vocabulary& vocabulary, std::string_view word, Scratch& scratch,
                std::vector<TokenPart>& parts) const;

  const std::vector<double>& scores() const { return scores_; }
  std::int32_t unk_id() const { return unk_id_; }
  bool byte_fallback() const { return byte_fallback_; }

 private:
  static constexpr std::uint32_t unreached = 0xFFFFFFFFu;

  std::vector<double> scores_;
  std::int32_t unk_id_;
  bool byte_fallback_;
  double unk_score_;
  ByteTrie pieces_;
  std::array<std::int32_t, 256> fallback_ids_{};
};

using TokenModel = std::variant<BpeModel, WordPieceModel, UnigramModel>;

/// The tokens of words that were looked up before. Texts repeat themselves: most look-ups end here. One per
/// thread, of bounded size.
class TokenCache {
 public:
  static constexpr std::size_t longest_word = 128;  // bytes

  /// The tokens of a word, or nullptr with 0 when they are not known. Valid until the next put().
  const TokenPart* find(std::string_view word, std::uint32_t owner, std::uint64_t hash,
                        std::size_t& count) const {
    if (entries_.empty()) return nullptr;
    const Entry& entry = entries_[hash >> (64 - bits)];
    if (entry.hash != hash || entry.owner != owner || entry.length != word.size() ||
        std::string_view(keys_.data() + entry.key, entry.length) != word)
      return nullptr;
    count = entry.count;
    return parts_.data() + entry.part;
  }
  void put(std::string_view word, std::uint32_t owner, std::uint64_t hash,
           const std::vector<TokenPart>& parts) {
    if (entries_.empty() || keys_.size() + word.size() > most_key_bytes ||
        parts_.size() + parts.size() > most_parts) {
      entries_.assign(std::size_t{1} << bits, Entry());
      keys_.clear();
      parts_.clear();
    }
    entries_[hash >> (64 - bits)] = {hash,
                                     owner,
                                     static_cast<std::uint32_t>(keys_.size()),
                                     static_cast<std::uint32_t>(parts_.size()),
                                     static_cast<std::uint16_t>(word.size()),
                                     static_cast<std::uint16_t>(parts.size())};
    keys_.insert(keys_.end(), word.begin(), word.end());
    parts_.insert(parts_.end(), parts.begin(), parts.end());
  }

 private:
  static constexpr int bits = 15;
  static constexpr std::size_t most_key_bytes = std::size_t{2} << 20;
  static constexpr std::size_t most_parts = std::size_t{1} << 19;
  struct Entry {
    std::uint64_t hash = 0;
    std::uint32_t owner = 0;  // the tokenizer's serial; 0: free
    std::uint32_t key = 0, part = 0;
    std::uint16_t length = 0, count = 0;
  };
  std::vector<Entry> entries_;
  std::vector<char> keys_;
  std::vector<TokenPart> parts_;
};

/// What tokenizing needs beside the model; one per thread.
struct ModelScratch {
  BpeModel::Scratch bpe;  // its parts are the result of all models
  UnigramModel::Scratch unigram;
};

/// The tokens of a word (not empty), in scratch.bpe.parts.
void tokenize_word(const TokenModel& model, const Vocabulary& vocabulary, std::string_view word,
                   ModelScratch& scratch);

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/token_models.inl.hpp>
#endif
