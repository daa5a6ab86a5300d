#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/text/added_tokens.hpp>
#include <attune/text/bert_chars.hpp>
#include <attune/text/bert_tokenizer_options.hpp>
#include <attune/text/byte_trie.hpp>

namespace attune::detail {

/// Everything that a BertTokenizer looks up. Never changes once it is made.
class BertTokenizerState {
 public:
  using Vocabulary = std::vector<std::pair<std::int32_t, std::string>>;

  /// `vocabulary` in any order, with non-negative ids; of equal tokens the last entry counts. `where` is the
  /// file or function that errors name. Added tokens get their ids in the order given, named special tokens
  /// after them.
  BertTokenizerState(Vocabulary vocabulary, BertTokenizerOptions options, const std::string& where);

  /// Looks up the pieces of a normalised word and calls on_piece(begin, end, id) for each; bytes begin ..
  /// end. A word that cannot be put together is one piece with the unknown token's id, preceded by a call of
  /// on_restart().
  template <class OnPiece, class OnRestart>
  void word_pieces(std::string_view word, std::int64_t chars, const OnPiece& on_piece,
                   const OnRestart& on_restart) const {
    if (chars <= options.max_input_chars_per_word) {
      std::size_t begin = 0;
      std::uint32_t root = 0;
      while (begin < word.size()) {
        const ByteTrie::Match match = pieces.longest_prefix(word.substr(begin), root);
        if (match.length == 0) break;
        on_piece(begin, begin + match.length, match.value);
        begin += match.length;
        root = continuation_root;
      }
      if (begin == word.size()) return;
      on_restart();
    }
    on_piece(0, word.size(), unk_id);
  }

  std::optional<std::int32_t> id_of(std::string_view token) const;
  /// nullptr when there is none.
  const std::string* token_of(std::int32_t id) const;
  /// What stands for the id in decoded text; nullptr when there is nothing.
  const std::string* text_of(std::int32_t id) const;
  bool is_special(std::int32_t id) const;

  BertTokenizerOptions options;  ///< added_tokens also holds the named special tokens
  std::uint32_t serial;          ///< tells caches of different tokenizers apart; never 0
  std::shared_ptr<const BertCharTable> chars;
  /// Tokens that begin words under the first root, others without their prefix under continuation_root.
  ByteTrie pieces;
  std::uint32_t continuation_root;
  Vocabulary vocabulary;  ///< by ascending id
  struct Added {
    AddedToken token;
    std::string
        pattern;  ///< what is searched for and decoded: the content, normalised when the token says so
  };
  std::map<std::int32_t, Added> added;
  AddedTokenMatcher raw_matcher;         ///< what is searched in the text as it is
  AddedTokenMatcher normalized_matcher;  ///< what is searched after normalisation
  std::int64_t vocab_size = 0;
  std::int32_t unk_id = 0, sep_id = 0, pad_id = 0, cls_id = 0, mask_id = 0;

 private:
  /// What follows the prefix of a token that continues words; empty for other tokens.
  std::string_view without_prefix(std::string_view token) const;
  /// The id in the vocabulary without added tokens, or -1.
  std::int32_t vocabulary_id(std::string_view token) const;
  void index_vocabulary(const std::string& where);
  void add_tokens(const std::string& where);
  void make_matchers(const std::string& where);

  bool prefix_is_apart_ = false;
  std::map<std::string, std::int32_t, std::less<>> added_ids_;
  std::vector<std::int32_t> special_ids_;  // ascending
};

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/bert_tokenizer_state.inl.hpp>
#endif
