#pragma once

#include <attune/core/error.hpp>
#include <attune/text/token_rows.hpp>

namespace attune::detail {

ATTUNE_INLINE std::size_t room_for_text(const EncodeOptions& options, std::int64_t special, const char* who) {
  if (options.max_length == 0) return std::numeric_limits<std::size_t>::max();
  if (options.max_length < special || options.max_length < 0)
    throw ConfigError(std::string(who) + ": max_length must be 0 or leave room for " +
                      std::to_string(special) + " special tokens, found " +
                      std::to_string(options.max_length));
  return static_cast<std::size_t>(options.max_length - special);
}

ATTUNE_INLINE std::array<std::size_t, 2> truncated_lengths(std::size_t first, std::size_t second, bool pair,
                                                           std::size_t room, Truncation truncation,
                                                           const char* who) {
  if (first + second <= room) return {first, second};
  if (room == 0) return {0, 0};
  if (truncation == Truncation::longest_first) {
    if (!pair) return {room, 0};
    std::size_t shorter = std::min(first, second);
    std::size_t longer = shorter > room ? shorter : std::max(shorter, room - shorter);
    if (shorter + longer > room) {
      shorter = room / 2;
      longer = shorter + room % 2;
    }
    return first <= second ? std::array{shorter, longer} : std::array{longer, shorter};
  }
  const bool cut_first = truncation == Truncation::only_first;
  if (!cut_first && !pair)
    throw ConfigError(std::string(who) +
                      ": truncation only_second needs a pair, found a single text that is too long");
  const std::size_t kept = cut_first ? second : first;
  if (kept >= room)
    throw ConfigError(std::string(who) + ": truncation " + (cut_first ? "only_first" : "only_second") +
                      " cannot shorten the row enough: the other text has " + std::to_string(kept) +
                      " or more tokens and there is room for " + std::to_string(room));
  return cut_first ? std::array{room - kept, kept} : std::array{kept, room - kept};
}

ATTUNE_INLINE std::size_t piece_limit(std::size_t room, bool pair, const EncodeOptions& options) {
  constexpr std::size_t all = std::numeric_limits<std::size_t>::max();
  return room == all || (pair && options.truncation == Truncation::longest_first) ? all : room + 1;
}

ATTUNE_INLINE void check_pairs(std::span<const std::string> texts, std::span<const std::string> pairs,
                               const char* who) {
  if (!pairs.empty() && pairs.size() != texts.size())
    throw ShapeError(std::string(who) + ": pairs must be empty or as many as texts, found " +
                     std::to_string(pairs.size()) + " pairs of " + std::to_string(texts.size()) + " texts");
}

ATTUNE_INLINE EncodedBatch join_chunks(std::span<const PackedChunk> chunks) {
  EncodedBatch batch;
  std::vector<std::size_t> starts;
  std::size_t total = 0;
  for (const PackedChunk& chunk : chunks) {
    starts.push_back(total);
    total += chunk.ids.size();
    batch.truncated_rows += chunk.truncated_rows;
    for (const std::int64_t length : chunk.lengths)
      batch.row_offsets.push_back(batch.row_offsets.back() + length);
  }
  batch.ids.resize(total);
  batch.type_ids.resize(total);
  parallel_for(static_cast<std::int64_t>(chunks.size()), [&](std::int64_t number) {
    const auto at = static_cast<std::size_t>(number);
    const auto start = static_cast<std::ptrdiff_t>(starts[at]);
    std::copy(chunks[at].ids.begin(), chunks[at].ids.end(), batch.ids.begin() + start);
    std::copy(chunks[at].type_ids.begin(), chunks[at].type_ids.end(), batch.type_ids.begin() + start);
  });
  return batch;
}

}  // namespace attune::detail
