#pragma once

#include <algorithm>

#include <attune/backend/cpu/dropout.hpp>
#include <attune/backend/cpu/kernels.hpp>
#include <attune/core/random.hpp>

namespace attune::cpu {

/// factors[j] = that of word start + j of the counters {0, c1, c2, c3}, {1, c1, c2, c3}, ...
inline void dropout_words(const DropoutView& dropout, std::uint32_t start, std::int64_t count,
                          std::uint32_t c1, std::uint32_t c2, std::uint32_t c3, float* factors) {
  const Kernels& set = kernels();
  constexpr std::int64_t most_blocks = 128;
  std::uint32_t words[4 * most_blocks];
  std::uint32_t block = start / 4;
  auto skip = static_cast<std::int64_t>(start % 4);  // words of the first block that come before `start`
  for (std::int64_t done = 0; done < count; skip = 0, block += most_blocks) {
    const std::int64_t blocks = std::min(most_blocks, (count - done + skip + 3) / 4);
    const std::int64_t n = std::min(4 * blocks - skip, count - done);
    set.philox({block, c1, c2, c3}, dropout.key, blocks, words);
    set.rows.dropout_factors(words + skip, dropout.threshold(), dropout.scale(), factors + done, n);
    done += n;
  }
}

ATTUNE_INLINE void dropout_row(const DropoutView& dropout, std::int64_t row, std::int64_t cols,
                               float* factors) {
  dropout_words(dropout, 0, cols, static_cast<std::uint32_t>(dropout.positions[row]),
                static_cast<std::uint32_t>(dropout.samples[row]), dropout.site << 16, factors);
}

ATTUNE_INLINE void attention_dropout_row(const DropoutView& dropout, std::int64_t query_row,
                                         std::int64_t head, const std::int32_t* key_positions,
                                         std::int64_t keys, bool consecutive, float* factors) {
  const auto c1 = static_cast<std::uint32_t>(dropout.positions[query_row]);
  const auto c2 = static_cast<std::uint32_t>(dropout.samples[query_row]);
  const std::uint32_t c3 = attention_stream(dropout, head);
  if (keys == 0) return;
  if (consecutive)
    return dropout_words(dropout, static_cast<std::uint32_t>(key_positions[0]), keys, c1, c2, c3, factors);
  auto block = static_cast<std::uint32_t>(key_positions[0]) / 4;
  Philox::Counter words = Philox::generate({block, c1, c2, c3}, dropout.key);
  for (std::int64_t j = 0; j < keys; ++j) {
    const auto position = static_cast<std::uint32_t>(key_positions[j]);
    if (position / 4 != block) {
      block = position / 4;
      words = Philox::generate({block, c1, c2, c3}, dropout.key);
    }
    factors[j] = words[position % 4] < dropout.threshold() ? 0.0f : dropout.scale();
  }
}

}  // namespace attune::cpu
