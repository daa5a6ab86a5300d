#pragma once

#include <string>

#include <attune/core/inline.hpp>

namespace attune::detail {

/// Whether a text has characters that only a regular expression has; a dot alone does not make one.
inline bool is_regex(const std::string& text) {
  return text.find_first_of("^$*+?()[]{}|\\") != std::string::npos;
}

/// Whether `name` as a whole fits a regular expression, as Python's re.fullmatch for what ECMAScript's syntax
/// shares with Python's. Time and stack are bounded whatever the pattern. `field` begins the message of the
/// ConfigError for one that is malformed or larger than any list of layers needs.
bool fits_regex(const std::string& pattern, const std::string& name, const char* field);

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/peft/module_pattern.inl.hpp>
#endif
