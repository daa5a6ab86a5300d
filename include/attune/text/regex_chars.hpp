#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/text/unicode_forms_table.hpp>

namespace attune::detail {

/// UnicodeRegexClass bits of every code point, one look at two small arrays each.
class RegexChars {
 public:
  /// The one table; made when first asked for.
  static const RegexChars& table();

  std::uint8_t classes(char32_t code_point) const {
    return classes_[static_cast<std::size_t>(blocks_[code_point >> block_bits]) << block_bits |
                    (code_point & (block_size - 1))];
  }
  std::uint8_t ascii_classes(unsigned char byte) const { return ascii_[byte]; }

 private:
  RegexChars();

  static constexpr int block_bits = 7;
  static constexpr std::uint32_t block_size = 1u << block_bits;

  std::vector<std::uint16_t> blocks_;  // by code point / block_size
  std::vector<std::uint8_t> classes_;  // distinct blocks
  std::array<std::uint8_t, 128> ascii_{};
};

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/regex_chars.inl.hpp>
#endif
