#pragma once

#include <string_view>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/text/aligned_text.hpp>

namespace attune::detail {

/// The Unicode normalization forms (UAX #15).
enum class NormalForm { nfc, nfd, nfkc, nfkd };

/// Whether a quick look at each character shows that valid text is in the form already.
bool keeps_form(NormalForm form, std::string_view text);

/// The text in the form, by change. Linear in the text but for the sorting of long runs of combining marks.
std::vector<CharChange> to_form(NormalForm form, std::string_view text);

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/unicode_forms.inl.hpp>
#endif
