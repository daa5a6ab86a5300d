#pragma once

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/text/regex.hpp>

namespace attune::detail {

/// One decoder of a sequence; names and meaning are those of tokenizers.
struct DecoderStep {
  enum class Kind { byte_level, byte_fallback, fuse, metaspace, replace, strip, word_piece, bpe };

  Kind kind = Kind::fuse;
  std::string text = {};            ///< the mark, prefix, suffix or character that is looked for
  std::optional<Regex> regex = {};  ///< replace: instead of `text`
  std::string becomes = {};         ///< replace
  std::size_t start = 0, stop = 0;  ///< strip: at most so many characters at begin and end of each token
  bool drop_first = false;          ///< metaspace: the marks of the first token become nothing
  bool clean_up = false;            ///< word_piece
};

/// The byte of a token like <0x0A>, or -1.
int byte_of_token(std::string_view token);

/// Applies one step to the tokens of a row.
void decode_step(const DecoderStep& step, std::vector<std::string>& tokens);

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/token_decoder.inl.hpp>
#endif
