#pragma once

#include <algorithm>
#include <iterator>
#include <map>
#include <string>

#include <attune/text/regex_chars.hpp>

namespace attune::detail {

ATTUNE_INLINE RegexChars::RegexChars() {
  std::map<std::string, std::uint16_t> known;  // g++ 12 warns falsely of a map of byte vectors
  std::vector<std::uint8_t> block(block_size);
  const std::uint32_t* run = std::begin(unicode_regex_runs);
  for (std::uint32_t first = 0; first < 0x110000; first += block_size) {
    for (std::uint32_t at = 0; at < block_size; ++at) {
      while (run + 1 != std::end(unicode_regex_runs) && (run[1] >> 8) <= first + at) ++run;
      block[at] = static_cast<std::uint8_t>(*run);
    }
    const auto [entry, added] =
        known.try_emplace(std::string(block.begin(), block.end()), static_cast<std::uint16_t>(known.size()));
    if (added) classes_.insert(classes_.end(), block.begin(), block.end());
    blocks_.push_back(entry->second);
  }
  for (std::uint32_t at = 0; at < 128; ++at) ascii_[at] = classes(at);
}

ATTUNE_INLINE const RegexChars& RegexChars::table() {
  static const RegexChars made;
  return made;
}

}  // namespace attune::detail
