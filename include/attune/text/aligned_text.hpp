#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/text/encoding.hpp>

namespace attune::detail {

/// A character of a changed text and how it relates to the text before, as in Hugging Face's
/// NormalizedString: 0 takes the place of one character, 1 is new, -k takes the place of 1 + k characters.
struct CharChange {
  char32_t value;
  std::int32_t change;
};

/// A text under normalisation and, when tracked, where each of its bytes is from.
class AlignedText {
 public:
  AlignedText() = default;
  /// Valid UTF-8, whose first code point has the number `position` in the caller's text.
  void assign(std::string_view text, bool tracked, std::int32_t position);
  /// The same with known origins, by byte.
  void assign(std::string_view text, std::span<const TextSpan> spans);

  std::string_view bytes() const { return bytes_; }
  bool tracked() const { return tracked_; }
  /// By byte; empty unless tracked.
  const std::vector<TextSpan>& spans() const { return spans_; }

  /// Replaces the whole text.
  void apply(std::span<const CharChange> changes);
  /// Keeps bytes begin .. end.
  void cut(std::size_t begin, std::size_t end);
  /// Puts a text before the first character, whose origin it gets. Nothing happens to an empty text.
  void prepend(std::string_view text);
  /// Replaces the parts begin, end (pairs, ascending); what comes in has the origin of the last character
  /// that it replaces.
  void replace(std::span<const std::size_t> parts, std::string_view with);
  /// Takes over a text whose bytes have the given origins.
  void exchange(std::string& bytes, std::vector<TextSpan>& spans);

 private:
  std::string bytes_;
  std::vector<TextSpan> spans_;
  bool tracked_ = false;
};

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/aligned_text.inl.hpp>
#endif
