#pragma once

#include <cstddef>
#include <regex>

#include <attune/core/error.hpp>
#include <attune/peft/module_pattern.hpp>

namespace attune::detail {

/// The states that a pattern needs at most: its letters, each as often as the counts in braces around it may
/// say.
inline std::size_t pattern_size(const std::string& pattern) {
  constexpr std::size_t too_large = std::size_t{1} << 20;
  std::size_t size = pattern.size();
  for (std::size_t at = pattern.find('{'); at != std::string::npos; at = pattern.find('{', at + 1)) {
    std::size_t largest = 1, number = 0;
    for (std::size_t i = at + 1; i < pattern.size() && pattern[i] != '}'; ++i) {
      const bool digit = pattern[i] >= '0' && pattern[i] <= '9';
      number = digit ? number * 10 + static_cast<std::size_t>(pattern[i] - '0') : 0;
      if (number > too_large) return too_large;
      largest = number > largest ? number : largest;
    }
    size *= largest;
    if (size > too_large) return too_large;
  }
  return size;
}

ATTUNE_INLINE bool fits_regex(const std::string& pattern, const std::string& name, const char* field) {
  // libstdc++ carries a pattern out recursively, state by state.
  constexpr std::size_t largest = 4000;
  if (pattern_size(pattern) > largest)
    throw ConfigError(std::string("lora: ") + field + ": the regular expression is too large");
  try {
    auto flags = std::regex::ECMAScript;
#if defined(__GLIBCXX__)
    flags |= std::regex_constants::__polynomial;  // all states at once; by backtracking (a*)*b takes for ever
#endif
    return std::regex_match(name, std::regex(pattern, flags));
  } catch (const std::regex_error& error) {
    throw ConfigError(std::string("lora: ") + field + ": '" + pattern +
                      "' is no regular expression that is understood: " + error.what());
  }
}

}  // namespace attune::detail
