#pragma once

#include <algorithm>

#include <attune/backend/cpu/dropout.hpp>
#include <attune/core/random.hpp>

namespace attune::cpu {

/// Philox of eight counters that differ in their first word alone: {first + i, c1, c2, c3}. words[w][i] is
/// word w of counter first + i. The same function as Philox::generate, laid out so that compilers vectorise
/// it.
inline constexpr int philox_lanes = 8;
inline void philox_blocks(std::uint32_t first, std::uint32_t c1, std::uint32_t c2, std::uint32_t c3,
                          Philox::Key key, std::uint32_t (&words)[4][philox_lanes]) {
  for (int i = 0; i < philox_lanes; ++i) {
    words[0][i] = first + static_cast<std::uint32_t>(i);
    words[1][i] = c1;
    words[2][i] = c2;
    words[3][i] = c3;
  }
  for (int round = 0; round < Philox::rounds; ++round) {
    for (int i = 0; i < philox_lanes; ++i) {
      const std::uint64_t product0 = std::uint64_t{Philox::multiplier0} * words[0][i];
      const std::uint64_t product1 = std::uint64_t{Philox::multiplier1} * words[2][i];
      words[0][i] = static_cast<std::uint32_t>(product1 >> 32) ^ words[1][i] ^ key[0];
      words[1][i] = static_cast<std::uint32_t>(product1);
      words[2][i] = static_cast<std::uint32_t>(product0 >> 32) ^ words[3][i] ^ key[1];
      words[3][i] = static_cast<std::uint32_t>(product0);
    }
    key[0] += Philox::weyl0;
    key[1] += Philox::weyl1;
  }
}

/// factors[j] = that of word start + j of the counters {0, c1, c2, c3}, {1, c1, c2, c3}, ...
inline void dropout_words(const DropoutView& dropout, std::uint32_t start, std::int64_t count,
                          std::uint32_t c1, std::uint32_t c2, std::uint32_t c3, float* factors) {
  const std::uint32_t threshold = dropout.threshold();
  const float scale = dropout.scale();
  constexpr std::int64_t chunk = 4 * philox_lanes;
  std::uint32_t words[4][philox_lanes];
  float values[chunk];
  auto skip = static_cast<std::int64_t>(start % 4);  // words of the first block that come before `start`
  std::uint32_t block = start / 4;
  for (std::int64_t done = 0; done < count; skip = 0, block += philox_lanes) {
    philox_blocks(block, c1, c2, c3, dropout.key, words);
    for (int i = 0; i < philox_lanes; ++i)
      for (int w = 0; w < 4; ++w) values[4 * i + w] = words[w][i] < threshold ? 0.0f : scale;
    const std::int64_t n = std::min(chunk - skip, count - done);
    std::copy_n(values + skip, n, factors + done);
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
  const std::uint32_t c3 = (dropout.site << 16) | static_cast<std::uint32_t>(head + 1);
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
