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

/// Where the entry of a code point, or of the next that has one, begins in unicode_decompositions; its end
/// when there is none.
inline std::size_t next_decomposition(char32_t code_point) {
  // The table is a list of entries of different lengths; this index of their begins is made once.
  static const std::vector<std::uint16_t> starts = [] {
    static_assert(std::size(unicode_decompositions) < 65536);
    std::vector<std::uint16_t> found;
    for (std::size_t at = 0; at < std::size(unicode_decompositions);
         at += 1 + (unicode_decompositions[at] & 7))
      found.push_back(static_cast<std::uint16_t>(at));
    return found;
  }();
  const auto entry = std::lower_bound(
      starts.begin(), starts.end(), code_point,
      [](std::uint16_t start, char32_t value) { return unicode_decompositions[start] >> 3 < value; });
  return entry == starts.end() ? std::size(unicode_decompositions) : *entry;
}

ATTUNE_INLINE CodePoints unicode_decompose(char32_t code_point) {
  CodePoints full;
  if (is_hangul_syllable(code_point)) {
    const char32_t index = code_point - 0xAC00;
    full.push(0x1100 + index / 588);
    full.push(0x1161 + index % 588 / 28);
    if (index % 28 != 0) full.push(0x11A7 + index % 28);
    return full;
  }
  const std::size_t entry = next_decomposition(code_point);
  if (entry == std::size(unicode_decompositions) || unicode_decompositions[entry] >> 3 != code_point) {
    full.push(code_point);
  } else {
    const std::uint32_t length = unicode_decompositions[entry] & 7;
    for (std::uint32_t at = 1; at <= length; ++at) full.push(unicode_decompositions[entry + at]);
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

ATTUNE_INLINE bool unicode_stays(char32_t first, char32_t last) {
  if (first < 0xD7A4 && last >= 0xAC00) return false;  // syllables of Hangul
  const std::size_t entry = next_decomposition(first);
  if (entry < std::size(unicode_decompositions) && unicode_decompositions[entry] >> 3 <= last) return false;
  const auto misses = [&](char32_t begin, char32_t end) { return end < first || begin > last; };
  return std::all_of(std::begin(unicode_lower_runs), std::end(unicode_lower_runs),
                     [&](const UnicodeLowerRun& run) {
                       return misses(run.first, run.first + std::uint32_t{run.step} * run.count);
                     }) &&
         std::all_of(std::begin(unicode_order_runs), std::end(unicode_order_runs),
                     [&](const UnicodeOrderRun& run) { return misses(run.first, run.last); });
}

}  // namespace attune::detail
