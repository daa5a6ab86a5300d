#pragma once

#include <cstddef>
#include <memory>
#include <string>
#include <string_view>
#include <utility>

#include <attune/core/inline.hpp>

namespace attune::detail {

/// A part of a text, in bytes. `begin` is npos when there is none.
struct TextRange {
  std::size_t begin = std::string_view::npos;
  std::size_t end = std::string_view::npos;
  explicit operator bool() const { return begin != std::string_view::npos; }
};

/// A regular expression as tokenizers understands it (Oniguruma's syntax, Unicode classes), carried out by
/// PCRE2. Steps and memory are bounded. A program that includes this header links PCRE2 (attune::tokenizers
/// does).
///
/// Copies share one compiled program, which many threads may use at once.
class Regex {
 public:
  /// `where` begins the messages of ConfigError: for syntax errors and for what the two understand
  /// differently.
  Regex(const std::string& pattern, const std::string& where);
  /// Matches what a reader takes for one character (an extended grapheme cluster).
  static Regex grapheme();

  /// The first match that begins at or behind `from`. `text` is valid UTF-8. Throws ConfigError when the
  /// search takes more steps or memory than any sensible pattern needs.
  TextRange find(std::string_view text, std::size_t from) const;

 private:
  struct Code;
  explicit Regex(std::shared_ptr<const Code> code) : code_(std::move(code)) {}
  std::shared_ptr<const Code> code_;
};

/// The pattern in PCRE2's syntax, with the same meaning. Throws ConfigError.
std::string to_pcre2_syntax(std::string_view pattern, const std::string& where);

/// A pattern that matches this text alone.
std::string regex_escape(std::string_view text);

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/regex.inl.hpp>
#endif
