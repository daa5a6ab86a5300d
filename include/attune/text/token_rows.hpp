#pragma once

#include <algorithm>
#include <array>
#include <cstdint>
#include <limits>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include <attune/core/inline.hpp>
#include <attune/core/parallel.hpp>
#include <attune/text/encoding.hpp>

namespace attune::detail {

/// The tokens of one text, without special tokens. Offsets and word numbers are kept only when asked for.
struct Pieces {
  std::vector<std::int32_t> ids;
  std::vector<TextSpan> offsets;
  std::vector<std::int32_t> word_ids;

  void resize(std::size_t count, bool full) {
    ids.resize(count);
    if (full) {
      offsets.resize(count);
      word_ids.resize(count);
    }
  }
};

/// How many tokens of its texts a row has room for beside `special` ones. `who` begins the message of the
/// ConfigError for a max_length that leaves none.
std::size_t room_for_text(const EncodeOptions& options, std::int64_t special, const char* who);

/// How many tokens of each text stay: Hugging Face's rules. Counts may be those that piece_limit() allows to
/// stop at.
std::array<std::size_t, 2> truncated_lengths(std::size_t first, std::size_t second, bool pair,
                                             std::size_t room, Truncation truncation, const char* who);

/// How many pieces of a text need to be known: one more than what fits tells that a row is too long and how
/// it is cut, unless the rule asks which of two long texts is the longer one.
std::size_t piece_limit(std::size_t room, bool pair, const EncodeOptions& options);

/// Throws unless there is no pair or one for each text.
void check_pairs(std::span<const std::string> texts, std::span<const std::string> pairs, const char* who);

/// The two texts of a row as pieces. Buffers that are used again and again.
struct RowPieces {
  std::array<Pieces, 2> texts;
  bool pair = false;
  bool truncated = false;

  void clear() {
    for (Pieces& pieces : texts) pieces.resize(0, true);
  }
  void truncate(std::size_t room, const EncodeOptions& options, bool full, const char* who) {
    const std::size_t first = texts[0].ids.size(), second = texts[1].ids.size();
    const auto lengths = truncated_lengths(first, second, pair, room, options.truncation, who);
    truncated = lengths[0] < first || lengths[1] < second;
    texts[0].resize(lengths[0], full);
    texts[1].resize(lengths[1], full);
  }
};

/// What one task of a batch produces.
struct PackedChunk {
  std::vector<std::int32_t> ids, type_ids;
  std::vector<std::int64_t> lengths;
  std::int64_t truncated_rows = 0;

  void put(std::span<const std::int32_t> tokens, std::int32_t type) {
    ids.insert(ids.end(), tokens.begin(), tokens.end());
    type_ids.resize(ids.size(), type);
  }
};

inline constexpr std::int64_t rows_per_tokenizer_task = 64;

/// Puts chunks of rows_per_tokenizer_task rows each back to back.
EncodedBatch join_chunks(std::span<const PackedChunk> chunks);

/// Encodes rows on all threads: encode_chunk(first row, rows, chunk).
template <class EncodeChunk>
EncodedBatch pack_rows(std::size_t rows, const EncodeChunk& encode_chunk) {
  constexpr auto grain = static_cast<std::size_t>(rows_per_tokenizer_task);
  std::vector<PackedChunk> chunks((rows + grain - 1) / grain);
  parallel_for(static_cast<std::int64_t>(chunks.size()), [&](std::int64_t number) {
    const std::size_t begin = static_cast<std::size_t>(number) * grain;
    encode_chunk(begin, std::min(grain, rows - begin), chunks[static_cast<std::size_t>(number)]);
  });
  return join_chunks(chunks);
}

/// The encodings of all rows, made on all threads.
template <class Tokenizer>
std::vector<Encoding> encode_rows(const Tokenizer& tokenizer, std::span<const std::string> texts,
                                  std::span<const std::string> pairs, const EncodeOptions& options,
                                  const char* who) {
  check_pairs(texts, pairs, who);
  std::vector<Encoding> encodings(texts.size());
  parallel_chunks(static_cast<std::int64_t>(texts.size()), rows_per_tokenizer_task,
                  [&](std::int64_t begin, std::int64_t end) {
                    for (auto at = static_cast<std::size_t>(begin); at < static_cast<std::size_t>(end); ++at)
                      encodings[at] = pairs.empty() ? tokenizer.encode(texts[at], options)
                                                    : tokenizer.encode_pair(texts[at], pairs[at], options);
                  });
  return encodings;
}

/// The same packed, by the state's encode_chunk(). `room` is what a row has for its texts.
template <class State>
EncodedBatch pack_texts(const State& state, std::span<const std::string> texts,
                        std::span<const std::string> pairs, const EncodeOptions& options, std::size_t room,
                        const char* who) {
  check_pairs(texts, pairs, who);
  return pack_rows(texts.size(), [&](std::size_t begin, std::size_t rows, PackedChunk& chunk) {
    encode_chunk(state, texts.subspan(begin, rows), pairs.empty() ? pairs : pairs.subspan(begin, rows),
                 options, room, chunk);
  });
}

}  // namespace attune::detail

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/text/token_rows.inl.hpp>
#endif
