#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/text/aligned_text.hpp>
#include <attune/text/regex.hpp>
#include <attune/text/split_patterns.hpp>

namespace attune::detail {

/// A part of a text on its way to the model.
struct TextPiece {
  std::string_view bytes;
  const TextSpan* spans = nullptr;  ///< by byte; nullptr when nobody asks where tokens are from
  bool at_start = false;            ///< begins where the caller's text begins

  TextPiece part(std::size_t begin, std::size_t end) const {
    return {bytes.substr(begin, end - begin), spans ? spans + begin : nullptr, at_start && begin == 0};
  }
};

/// What becomes of the delimiters that a split finds; names and meaning are those of tokenizers.
enum class SplitBehavior { removed, isolated, merged_with_previous, merged_with_next, contiguous };

/// One pre-tokenizer: it may change the piece, then splits it.
struct PreTokenizerStep {
  enum class Finder {
    nothing,
    pattern,      ///< one of SplitPattern
    regex,        ///< a regular expression
    literal,      ///< a string
    space,        ///< characters of white space
    punctuation,  ///< characters of punctuation
    numeric,      ///< digits and other numbers
    words,        ///< runs of word characters, and runs of others that are no white space
  };
  enum class Prefix { never, first, always };

  std::string space_becomes = {};  ///< what takes the place of each space; empty: spaces stay
  std::string prefix_text = {};    ///< put before pieces that do not begin with it
  Prefix prefix = Prefix::never;   ///< first: only where the caller's text begins

  Finder finder = Finder::nothing;
  SplitPattern pattern = SplitPattern::gpt2;
  std::optional<Regex> regex = {};
  std::string literal = {};
  SplitBehavior behavior = SplitBehavior::isolated;
  bool invert = false;  ///< what is found is kept, the rest are the delimiters

  bool changes_text() const { return !space_becomes.empty() || prefix != Prefix::never; }
};

/// The space or mark before the piece, and its spaces replaced, as the step says.
void change_piece(const PreTokenizerStep& step, const TextPiece& piece, AlignedText& out);

/// Bits for characters that `finder` looks for; see find_characters.
bool is_delimiter(PreTokenizerStep::Finder finder, char32_t code_point);
/// 0: white space, 1: word character, 2: other.
int word_kind(char32_t code_point);

/// All parts of the text in order: on_part(begin, end, is_match) -> bool (go on?).
template <class OnPart>
bool find_parts(const PreTokenizerStep& step, std::string_view text, const OnPart& on_part) {
  std::size_t done = 0;
  const auto match = [&](std::size_t begin, std::size_t end) {
    if (done < begin && !on_part(done, begin, false)) return false;
    done = end;
    return on_part(begin, end, true);
  };
  using Finder = PreTokenizerStep::Finder;
  switch (step.finder) {
    case Finder::nothing:
      break;
    case Finder::pattern: {
      const SplitScanner scanner(text);
      while (done < text.size())
        if (!match(done, scanner.next(step.pattern, done))) return false;
      break;
    }
    case Finder::regex:
      for (std::size_t from = 0; from <= text.size();) {
        const TextRange found = step.regex->find(text, from);
        if (!found) break;
        if (found.end == found.begin) {
          // An empty match counts where no match ends; the search goes on behind the next character.
          if ((found.begin > done || found.begin == 0) && !match(found.begin, found.end)) return false;
          if (found.begin >= text.size()) break;
          from = found.begin + static_cast<std::size_t>(decode_valid_utf8(text.data() + found.begin).bytes);
        } else {
          if (!match(found.begin, found.end)) return false;
          from = found.end;
        }
      }
      break;
    case Finder::literal:
      for (std::size_t at; (at = text.find(step.literal, done)) != std::string_view::npos;)
        if (!match(at, at + step.literal.size())) return false;
      break;
    case Finder::space:
    case Finder::punctuation:
    case Finder::numeric:
      for (std::size_t at = 0; at < text.size();) {
        const CodePoint next = decode_valid_utf8(text.data() + at);
        const std::size_t end = at + static_cast<std::size_t>(next.bytes);
        if (is_delimiter(step.finder, next.value) && !match(at, end)) return false;
        at = end;
      }
      break;
    case Finder::words:
      for (std::size_t at = 0; at < text.size();) {
        const std::size_t begin = at;
        const int kind = word_kind(decode_valid_utf8(text.data() + at).value);
        while (at < text.size()) {
          const CodePoint next = decode_valid_utf8(text.data() + at);
          if (word_kind(next.value) != kind) break;
          at += static_cast<std::size_t>(next.bytes);
        }
        if (kind != 0 && !match(begin, at)) return false;
      }
      break;
  }
  return done == text.size() || on_part(done, text.size(), false);
}

/// Calls on_piece(begin, end) -> bool (go on?) for what the step splits the text into, empty pieces left out.
template <class OnPiece>
bool split_text(const PreTokenizerStep& step, std::string_view text, const OnPiece& on_piece) {
  std::size_t held_begin = 0, held_end = 0;  // a piece that the next part may join
  bool held_match = false;
  const auto flush = [&] {
    const bool go_on = held_begin == held_end || on_piece(held_begin, held_end);
    held_begin = held_end;
    return go_on;
  };
  const auto hold = [&](std::size_t begin, std::size_t end) {
    if (!flush()) return false;
    held_begin = begin;
    held_end = end;
    return true;
  };
  bool any = false;
  const bool went_on = find_parts(step, text, [&](std::size_t begin, std::size_t end, bool is_match) {
    is_match = is_match != step.invert;
    const bool joins_previous =
        any && (step.behavior == SplitBehavior::contiguous             ? is_match == held_match
                : step.behavior == SplitBehavior::merged_with_previous ? is_match && !held_match
                : step.behavior == SplitBehavior::merged_with_next     ? !is_match && held_match
                                                                       : false);
    any = true;
    held_match = is_match;
    switch (step.behavior) {
      case SplitBehavior::removed:
        return is_match || begin == end || on_piece(begin, end);
      case SplitBehavior::isolated:
        return begin == end || on_piece(begin, end);
      default:
        if (!joins_previous) return hold(begin, end);
        held_end = end;
        return true;
    }
  });
  return went_on && flush();
}

/// A sequence of steps.
class PreTokenizer {
 public:
  std::vector<PreTokenizerStep> steps;
  /// The words' bytes stand for themselves in the vocabulary (ByteLevel).
  bool byte_level = false;

  /// Buffers of one thread.
  struct Scratch {
    std::vector<AlignedText> changed;  // by step
  };

  /// Calls on_word(piece) -> bool (go on?) with each word. The pieces are valid during the call.
  template <class OnWord>
  bool split(const TextPiece& piece, Scratch& scratch, const OnWord& on_word) const {
    if (scratch.changed.size() < steps.size()) scratch.changed.resize(steps.size());
    return run(0, piece, scratch, on_word);
  }

 private:
  template <class OnWord>
  bool run(std::size_t at, const TextPiece& piece, Scratch& scratch, const OnWord& on_word) const {
    if (at == steps.size()) return piece.bytes.empty() || on_word(piece);
    const PreTokenizerStep& step = steps[at];
    TextPiece whole = piece;
    if (step.changes_text()) {
      AlignedText& changed = scratch.changed[at];
      change_piece(step, piece, changed);
      whole = {changed.bytes(), changed.tracked() ? changed.spans().data() : nullptr, piece.at_start};
    }
    if (step.finder == PreTokenizerStep::Finder::pattern && step.behavior == SplitBehavior::isolated) {
      const SplitScanner scanner(whole.bytes);
      for (std::size_t begin = 0; begin < whole.bytes.size();) {
        const std::size_t end = scanner.next(step.pattern, begin);
        if (!run(at + 1, whole.part(begin, end), scratch, on_word)) return false;
        begin = end;
      }
      return true;
    }
    return split_text(step, whole.bytes, [&](std::size_t begin, std::size_t end) {
      return run(at + 1, whole.part(begin, end), scratch, on_word);
    });
  }
};

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/pre_tokenizer.inl.hpp>
#endif
