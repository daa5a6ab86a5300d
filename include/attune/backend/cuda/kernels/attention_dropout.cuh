#pragma once

#include <attune/backend/cuda/kernels/attention_shape.cuh>
#include <attune/backend/cuda/kernels/mma_tiles.cuh>

// Which weights dropout zeroes, for accumulators of tensor cores (mma_tiles.cuh) of which rows are queries
// and columns are keys in the order FourAColumn. One run of Philox decides four keys of a query; in that
// order they belong to one lane, where the keys' positions count up from a multiple of four as they do in
// plain sequences. Elsewhere each element is asked for itself.

namespace attune::cuda {

/// Whether the positions of a sequence's keys begin .. end, not none, count up so that those of keys 4 i ..
/// 4 i + 3 share a run of Philox; the same in all threads of a block. `first` becomes the position of key 0.
__device__ __forceinline__ bool positions_count_up(const int32_t* positions, int begin, int end,
                                                   uint32_t& first) {
  first = static_cast<uint32_t>(positions[begin]) - static_cast<uint32_t>(begin);
  bool regular = first % 4 == 0;
#pragma unroll 4
  for (int key = begin + static_cast<int>(threadIdx.x); key < end; key += mma_threads)
    regular &= static_cast<uint32_t>(positions[key]) == first + static_cast<uint32_t>(key);
  return !port::sync_block_or(!regular);
}

/// The decisions for 16 M queries of a warp.
template <int M>
class QueryDropout {
 public:
  /// This lane's queries from `query` on. A block calls it as a whole, with the keys that it walks over.
  __device__ __forceinline__ QueryDropout(const AttentionShape& shape, const SequenceRows& rows, int head,
                                          int query, int begin, int end)
      : shape_(shape), rows_(rows), head_(head), query_(query) {
    if (!shape.dropout.on || begin >= end) return;
    regular_ = positions_count_up(shape.key_positions + rows.key_begin, begin, end, first_);
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int h = 0; h < 2; ++h) counters_[m][h] = shape.dropout.row_counter(query_row(16 * m + 8 * h));
  }

  /// Calls f(m, n, r, whether the element is dropped) for the tile of 8 N keys from `key` on.
  template <int N, class F>
  __device__ __forceinline__ void decide(int key, const F& f) const {
    const Dropout& dropout = shape_.dropout;
    if (!regular_) return decide_by_element<N>(key, f);
    const uint32_t block = (first_ + static_cast<uint32_t>(key)) / 4 + threadIdx.x % 4;
#pragma unroll
    for (int n = 0; n < N; n += 2) {
      const PhiloxColumn column =
          dropout.column_counter(block + static_cast<uint32_t>(2 * n), static_cast<uint32_t>(head_ + 1));
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const Words words = philox(counters_[m][h], column, dropout.key0, dropout.key1);
#pragma unroll
          for (int k = 0; k < 4; ++k) f(m, n + k / 2, 2 * h + k % 2, words.v[k] < dropout.threshold);
        }
    }
  }

 private:
  /// Queries that the sequence does not have are answered for as if they were the last it has.
  __device__ __forceinline__ int64_t query_row(int i) const {
    const int64_t query = query_ + i;
    return rows_.query_begin + (query < rows_.query_count ? query : rows_.query_count - 1);
  }
  template <int N, class F>
  __device__ __forceinline__ void decide_by_element(int key, const F& f) const {
    static_assert(M * N <= 8);  // of 4 bits each
    const auto last = static_cast<int>(rows_.key_count) - 1;
    uint32_t mask = 0;
#pragma unroll 1
    for (int i = 0; i < 4 * M * N; ++i) {
      const int m = i / (4 * N), n = i / 4 % N, r = i % 4;
      const int at = key + n / 2 * 16 + static_cast<int>(threadIdx.x % 4) * 4 + n % 2 * 2 + r % 2;
      const int64_t key_row = rows_.key_begin + (at < last ? at : last);
      mask |= shape_.factor(query_row(16 * m + r / 2 * 8), key_row, head_) == 0.0f ? 1u << i : 0u;
    }
#pragma unroll
    for (int i = 0; i < 4 * M * N; ++i) f(i / (4 * N), i / 4 % N, i % 4, (mask >> i & 1u) != 0);
  }

  const AttentionShape& shape_;
  const SequenceRows& rows_;
  int head_;
  int query_;
  bool regular_ = false;
  uint32_t first_ = 0;
  PhiloxRow counters_[M][2];
};

// The backward of queries leaves its decisions for that of keys, a bit each. A word holds those of a query
// and 32 keys from a multiple of 32 on: byte p those of keys 4 p .. 4 p + 3 (lower half) and 16 + 4 p ..
// (upper half), as lane l % 4 = p has them. Words lie by heads, groups of 32 keys, and queries.

struct DroppedBits {
  uint32_t* words;  ///< null without dropout
  int64_t queries;
  int key_groups;

  __device__ __forceinline__ uint32_t* at(int head, int group, int64_t query_row) const {
    return words + (int64_t{head} * key_groups + group) * queries + query_row;
  }
};

/// Where a word has the bits of key `key` of its 32, and after it those of the keys that share a lane with it
/// in the order NeighboursARow.
__device__ __forceinline__ int dropped_shift(int key) { return key / 4 % 4 * 8 + key / 16 * 4 + key % 4; }

}  // namespace attune::cuda
