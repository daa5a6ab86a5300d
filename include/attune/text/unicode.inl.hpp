#pragma once

#include <algorithm>
#include <iterator>
#include <vector>

#include <attune/text/unicode.hpp>
#include <attune/text/unicode_table.hpp>

namespace attune::detail {

ATTUNE_INLINE std::uint8_t unicode_classes(char32_t code_point) {
  const std::uint32_t key = static_cast<std::uint32_t>(code_point) << 8 | 0xFFu;
  return static_cast<std::uint8_t>(
      *std::prev(std::upper_bound(std::begin(unicode_class_runs), std::end(unicode_class_runs), key)));
}

ATTUNE_INLINE CodePoints unicode_lower(char32_t code_point) {
  CodePoints lower;
  if (code_point == 0x130) {
    lower.push(U'i');
    lower.push(0x307);
    return lower;
  }
  const auto after =
      std::upper_bound(std::begin(unicode_lower_runs), std::end(unicode_lower_runs), code_point,
                       [](char32_t value, const UnicodeLowerRun& run) { return value < run.first; });
  if (after != std::begin(unicode_lower_runs)) {
    const UnicodeLowerRun& run = *std::prev(after);
    const std::uint32_t distance = code_point - run.first;
    if (distance % run.step == 0 && distance / run.step < run.count)
      code_point = static_cast<char32_t>(static_cast<std::int32_t>(code_point) + run.delta);
  }
  lower.push(code_point);
  return lower;
}

ATTUNE_INLINE CodePoints unicode_decompose(char32_t code_point) {
  // The table is a list of entries of different lengths; this index of their begins is made once.
  static const std::vector<std::uint16_t> starts = [] {
    static_assert(std::size(unicode_decompositions) < 65536);
    std::vector<std::uint16_t> found;
    for (std::size_t at = 0; at < std::size(unicode_decompositions);
         at += 1 + (unicode_decompositions[at] & 7))
      found.push_back(static_cast<std::uint16_t>(at));
    return found;
  }();
  CodePoints full;
  if (is_hangul_syllable(code_point)) {
    const char32_t index = code_point - 0xAC00;
    full.push(0x1100 + index / 588);
    full.push(0x1161 + index % 588 / 28);
    if (index % 28 != 0) full.push(0x11A7 + index % 28);
    return full;
  }
  const auto entry = std::lower_bound(
      starts.begin(), starts.end(), code_point,
      [](std::uint16_t start, char32_t value) { return unicode_decompositions[start] >> 3 < value; });
  if (entry == starts.end() || unicode_decompositions[*entry] >> 3 != code_point) {
    full.push(code_point);
  } else {
    const std::uint32_t length = unicode_decompositions[*entry] & 7;
    for (std::uint32_t at = 1; at <= length; ++at) full.push(unicode_decompositions[*entry + at]);
  }
  return full;
}

ATTUNE_INLINE int unicode_order(char32_t code_point) {
  const auto after =
      std::upper_bound(std::begin(unicode_order_runs), std::end(unicode_order_runs), code_point,
                       [](char32_t value, const UnicodeOrderRun& run) { return value < run.first; });
  if (after == std::begin(unicode_order_runs)) return 0;
  const UnicodeOrderRun& run = *std::prev(after);
  return code_point <= run.last ? run.rank : 0;
}

}  // namespace attune::detail
