#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/text/aligned_text.hpp>
#include <attune/text/regex.hpp>

namespace attune::detail {

/// SentencePiece's compiled normalisation rules: a double-array trie and the texts that its keys become.
class PrecompiledMap {
 public:
  /// `base64` is tokenizer.json's `precompiled_charsmap`. Throws FormatError, naming `where`.
  PrecompiledMap(std::string_view base64, const std::string& where);

  /// Replaces as tokenizers does: a grapheme of fewer than six bytes as a whole, when a key begins it,
  /// otherwise character by character.
  void apply(AlignedText& text) const;

 private:
  /// What the shortest key that `text` begins with becomes.
  std::optional<std::string_view> find(std::string_view text) const;

  std::vector<std::uint32_t> units_;
  std::string texts_;
  Regex grapheme_;
};

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/precompiled.inl.hpp>
#endif
