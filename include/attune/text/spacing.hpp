#pragma once

#include <string>
#include <string_view>

#include <attune/core/inline.hpp>

namespace attune::detail {

/// Replaces every `from` (nothing happens when it is empty).
void replace_all(std::string& text, std::string_view from, std::string_view to);

/// Joins English punctuation to the word before it. `contract_do_not` is a rule that Hugging Face applies to
/// single tokens but not to whole texts.
void clean_up_spaces(std::string& text, bool contract_do_not);

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/spacing.inl.hpp>
#endif
