#pragma once

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/text/aligned_text.hpp>
#include <attune/text/bert_chars.hpp>
#include <attune/text/precompiled.hpp>
#include <attune/text/regex.hpp>
#include <attune/text/unicode_forms.hpp>

namespace attune::detail {

/// One normalizer of a sequence; names and meaning are those of tokenizers.
struct NormalizerStep {
  enum class Kind { form, lowercase, strip, strip_accents, replace, prepend, bert, precompiled };

  Kind kind = Kind::form;
  NormalForm form = NormalForm::nfc;
  bool strip_left = false, strip_right = false;
  std::optional<Regex> regex = {};  ///< replace: what is searched for, or else
  std::string literal = {};         ///< this text
  std::string text = {};            ///< what is put in (replace) or before (prepend)
  BertCharSettings bert = {};
  std::shared_ptr<const PrecompiledMap> precompiled = nullptr;
};

class Normalizer {
 public:
  std::vector<NormalizerStep> steps;

  /// Whether a quick look shows that nothing would change.
  bool keeps(std::string_view text) const;
  void apply(AlignedText& text) const;
};

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/normalizer.inl.hpp>
#endif
