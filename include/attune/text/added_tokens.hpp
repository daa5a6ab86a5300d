#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <cstring>
#include <string>
#include <string_view>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/text/byte_trie.hpp>
#include <attune/text/encoding.hpp>

namespace attune::detail {

/// How many bytes of white space the valid text begins or ends with, and whether it begins or ends with a
/// word character: what an added token asks of its neighbourhood.
std::size_t leading_space(std::string_view text);
std::size_t trailing_space(std::string_view text);
bool begins_with_word_char(std::string_view text);
bool ends_with_word_char(std::string_view text);

/// Finds added tokens in a text: leftmost first, the longest of those that begin at one place.
class AddedTokenMatcher {
 public:
  /// `pattern` is what is searched for (not empty); `token` gives the flags.
  void add(std::string_view pattern, const AddedToken& token, std::int32_t id) {
    const int front = static_cast<unsigned char>(pattern.front());
    first_bytes_[static_cast<std::size_t>(front)] = true;
    trie_.insert(pattern, static_cast<std::int32_t>(entries_.size()));
    entries_.push_back({id, token.single_word, token.lstrip, token.rstrip});
    only_first_byte_ = entries_.size() == 1 || only_first_byte_ == front ? front : -1;
  }
  bool empty() const { return entries_.empty(); }

  /// Cuts valid text: on_piece(begin, end, id) -> bool (go on?) for bytes begin .. end, with id -1 between
  /// tokens.
  template <class OnPiece>
  bool split(std::string_view text, const OnPiece& on_piece) const {
    std::size_t done = 0;
    for (std::size_t at = 0; (at = next_candidate(text, at)) < text.size();) {
      const ByteTrie::Match match = trie_.longest_prefix(text.substr(at));
      if (match.length == 0) {
        ++at;
        continue;
      }
      const Entry& entry = entries_[static_cast<std::size_t>(match.value)];
      std::size_t begin = at, end = at + match.length;
      at = end;
      if (entry.single_word &&
          (ends_with_word_char(text.substr(0, begin)) || begins_with_word_char(text.substr(end))))
        continue;
      if (entry.lstrip) begin = std::max(begin - trailing_space(text.substr(0, begin)), done);
      if (entry.rstrip) end += leading_space(text.substr(end));
      if (done < begin && !on_piece(done, begin, -1)) return false;
      if (!on_piece(begin, end, entry.id)) return false;
      done = end;
    }
    return done == text.size() || on_piece(done, text.size(), -1);
  }

 private:
  struct Entry {
    std::int32_t id;
    bool single_word, lstrip, rstrip;
  };

  std::size_t next_candidate(std::string_view text, std::size_t at) const {
    if (entries_.empty() || at >= text.size()) return text.size();
    if (only_first_byte_ >= 0) {
      const void* found = std::memchr(text.data() + at, only_first_byte_, text.size() - at);
      return found ? static_cast<std::size_t>(static_cast<const char*>(found) - text.data()) : text.size();
    }
    while (at < text.size() && !first_bytes_[static_cast<unsigned char>(text[at])]) ++at;
    return at;
  }

  ByteTrie trie_;
  std::vector<Entry> entries_;
  std::array<bool, 256> first_bytes_{};
  int only_first_byte_ = -1;  // when all tokens begin alike, as "[CLS]", "[SEP]" do
};

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/added_tokens.inl.hpp>
#endif
