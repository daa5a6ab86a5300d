#pragma once

#include <algorithm>
#include <cstdint>

#include <attune/backend/backend.hpp>

// What both ways of computing attention share: see attention_panels.hpp and attention.inl.hpp.

namespace attune::cpu {

/// One sequence's rows.
struct AttentionSequence {
  std::int64_t query_begin, queries, key_begin, keys;

  AttentionSequence(const AttentionOptions& options, std::int64_t b)
      : query_begin(options.query_segments.offsets[b]),
        queries(options.query_segments.offsets[b + 1] - query_begin),
        key_begin(options.key_segments.offsets[b]),
        keys(options.key_segments.offsets[b + 1] - key_begin) {}
};

/// Keys first .. last of a sequence.
struct KeyRange {
  std::int64_t first, last;
};
inline KeyRange visible_keys(const AttentionOptions& options, std::int64_t query, std::int64_t keys) {
  const std::int64_t at = query + options.query_offset;
  KeyRange range{0, keys};
  if (options.causal) range.last = std::clamp<std::int64_t>(at + 1, 0, keys);
  if (options.window > 0) range.first = std::clamp<std::int64_t>(at - options.window + 1, 0, range.last);
  return range;
}

inline bool are_consecutive(const std::int32_t* positions, std::int64_t count) {
  for (std::int64_t i = 1; i < count; ++i)
    if (positions[i] != positions[0] + i) return false;
  return true;
}

}  // namespace attune::cpu
