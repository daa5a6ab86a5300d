#pragma once

#include <attune/backend/cuda/kernels/attention_shape.cuh>

// Which weights of a tile dropout zeroes, for accumulators of tensor cores (mma_tiles.cuh). One run of Philox
// decides four keys of a query. Where the keys' positions count up from a multiple of four, as they do in
// plain sequences, each lane runs it for some of its group's elements and the lanes exchange the bits;
// elsewhere each element is asked for itself.

namespace attune::cuda {

/// Whether that holds for the `count` keys from row `key` on; the same in all lanes of a warp.
__device__ __forceinline__ bool positions_count_up(const int32_t* positions, int64_t key, int count) {
  const int32_t base = positions[key];
  bool regular = base % 4 == 0;
  for (int i = static_cast<int>(threadIdx.x % 32); i < count; i += 32)
    regular = regular && positions[key + i] == base + i;
  const unsigned votes = port::ballot(regular);
  return votes == ~0u;
}

/// Four bits: which of the keys at positions 4 block .. 4 block + 3 are dropped.
__device__ __forceinline__ uint32_t dropped_block(const Dropout& dropout, int64_t query_row, uint32_t block,
                                                  int head) {
  const Words words = dropout.words(query_row, block, static_cast<uint32_t>(head + 1));
  uint32_t bits = 0;
#pragma unroll
  for (int k = 0; k < 4; ++k) bits |= words.v[k] < dropout.threshold ? 1u << k : 0u;
  return bits;
}

/// A tile of weights: 16 rows of this warp by 8 N walked rows. Rows that the sequence does not have are
/// answered for as if they were the last it has.
struct DropoutTile {
  const AttentionShape& shape;
  int64_t query, last_query;  ///< rows of the packed matrices: the tile's first and the sequence's last
  int64_t key, last_key;
  int head;

  __device__ __forceinline__ int64_t query_row(int i) const {
    return query + i < last_query ? query + i : last_query;
  }
  __device__ __forceinline__ bool dropped(int query_index, int key_index) const {
    const int64_t key_row = key + key_index < last_key ? key + key_index : last_key;
    return shape.factor(query_row(query_index), key_row, head) == 0.0f;
  }

  /// Rows are queries, columns are keys: bit 4 n + r is set where accumulator element [n][r] is dropped.
  template <int N>
  __device__ __forceinline__ uint32_t queries_by_keys() const {
    const int lane = static_cast<int>(threadIdx.x % 32), row = lane / 4, pair = lane % 4;
    const int64_t left = last_key + 1 - key;
    if (!positions_count_up(shape.key_positions, key, left < 8 * N ? static_cast<int>(left) : 8 * N)) {
      uint32_t mask = 0;
      for (int i = 0; i < 4 * N; ++i)
        mask |= dropped(row + i % 4 / 2 * 8, i / 4 * 8 + pair * 2 + i % 2) ? 1u << i : 0u;
      return mask;
    }
    // Lanes 2 p and 2 p + 1 share four keys of rows l / 4 and l / 4 + 8, and take a row each.
    const auto block = static_cast<uint32_t>(shape.key_positions[key]) / 4 + static_cast<uint32_t>(pair / 2);
    const int64_t mine = query_row(row + pair % 2 * 8);
    uint32_t bits = 0;
#pragma unroll
    for (int n = 0; n < N; ++n)
      bits |= dropped_block(shape.dropout, mine, block + static_cast<uint32_t>(2 * n), head) << (4 * n);
    const uint32_t other = port::shfl_xor(bits, 1);
    const uint32_t upper = pair % 2 ? other : bits, lower = pair % 2 ? bits : other;
    const int shift = pair % 2 * 2;
    return (upper >> shift & 0x33333333u) | (lower >> shift & 0x33333333u) << 2;
  }

  /// Rows are keys, columns are queries.
  template <int N>
  __device__ __forceinline__ uint32_t keys_by_queries() const {
    const int lane = static_cast<int>(threadIdx.x % 32), row = lane / 4, pair = lane % 4;
    const int64_t left = last_key + 1 - key;
    const int count = left < 16 ? static_cast<int>(left < 0 ? 0 : left) : 16;
    if (!positions_count_up(shape.key_positions, count > 0 ? key : last_key, count)) {
      uint32_t mask = 0;
      for (int i = 0; i < 4 * N; ++i)
        mask |= dropped(i / 4 * 8 + pair * 2 + i % 2, row + i % 4 / 2 * 8) ? 1u << i : 0u;
      return mask;
    }
    // The four lanes of rows 4 a .. 4 a + 3 share four keys of each element's query, and take an element
    // each.
    const int own = row % 4;
    const auto block = static_cast<uint32_t>(shape.key_positions[count > 0 ? key : last_key]) / 4 +
                       static_cast<uint32_t>(row / 4 + own / 2 * 2);
    uint32_t bits = 0;
#pragma unroll
    for (int n = 0; n < N; ++n)
      bits |= dropped_block(shape.dropout, query_row(8 * n + pair * 2 + own % 2), block, head) << (4 * n);
    uint32_t mask = 0;
#pragma unroll
    for (int r = 0; r < 4; ++r) {
      const uint32_t theirs = port::shfl(bits, (row / 4 * 4 + r) * 4 + pair);
      mask |= (theirs >> own & 0x11111111u) << r;
    }
    return mask;
  }
};

}  // namespace attune::cuda
