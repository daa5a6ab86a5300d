#pragma once

#include <attune/backend/cuda/kernels/attention_shape.cuh>

// Which queries see which keys, for accumulators of tensor cores (mma_tiles.cuh). Most products of tiles are
// seen wholly or not at all, and one comparison for a warp tells; only what is left is asked for by element.

namespace attune::cuda {

inline constexpr float log2_e = 1.44269504f, log_2 = 0.69314718f;

/// What the queries of a sequence see: query i its keys low(i) .. high(i) - 1; neither falls as i grows. As
/// AttentionShape's first_key and last_key, in 32 bits.
struct KeyBounds {
  int queries, keys;

  __device__ __forceinline__ KeyBounds(const AttentionShape& shape, const SequenceRows& rows)
      : queries(static_cast<int>(rows.query_count)),
        keys(static_cast<int>(rows.key_count)),
        low_offset(shape.window > 0 ? bounded(shape.query_offset - shape.window + 1) : -far),
        high_offset(shape.causal ? bounded(shape.query_offset + 1) : far) {}
  __device__ __forceinline__ int low(int query) const { return between(query + low_offset, keys); }
  __device__ __forceinline__ int high(int query) const { return between(query + high_offset, keys); }
  /// The first query that sees beyond `key`, and the first that does not see so far back any more.
  __device__ __forceinline__ int first_query(int key) const {
    return between(key + 1 - high_offset, queries);
  }
  __device__ __forceinline__ int end_query(int key) const { return between(key + 1 - low_offset, queries); }

 private:
  static constexpr int far = 1 << 30;  // more than any sequence has
  static __device__ __forceinline__ int bounded(int64_t x) {
    return static_cast<int>(x < -far ? -far : x > far ? far : x);
  }
  static __device__ __forceinline__ int between(int x, int most) { return x < 0 ? 0 : x < most ? x : most; }
  int low_offset, high_offset;
};

/// The keys that any of the queries begin .. begin + count sees, from a multiple of 64 on, where tiles begin.
struct WalkedKeys {
  int begin, end;

  __device__ __forceinline__ WalkedKeys(const KeyBounds& bounds, int query, int count)
      : begin(bounds.low(query) / 64 * 64),
        end(bounds.high((query + count < bounds.queries ? query + count : bounds.queries) - 1)) {}
};

/// What all of the queries begin .. begin + count see, and beyond which none sees.
class SeenByQueries {
 public:
  __device__ __forceinline__ SeenByQueries(const KeyBounds& bounds, int begin, int count) {
    const int last = (begin + count < bounds.queries ? begin + count : bounds.queries) - 1;
    end_ = begin < bounds.queries ? bounds.high(last) : 0;
    all_begin_ = bounds.low(last);
    all_end_ = bounds.high(begin);
  }
  __device__ __forceinline__ bool none(int key) const { return key >= end_; }
  __device__ __forceinline__ bool all(int key, int count) const {
    return key >= all_begin_ && key + count <= all_end_;
  }

 private:
  int end_, all_begin_, all_end_;
};

/// The queries that see all and any of the keys begin .. begin + count.
class SeeingQueries {
 public:
  __device__ __forceinline__ SeeingQueries(const KeyBounds& bounds, int begin, int count) {
    const int last = begin + count - 1;
    any_begin_ = bounds.first_query(begin);
    any_end_ = begin < bounds.keys ? bounds.end_query(last) : 0;
    all_begin_ = bounds.first_query(last);
    all_end_ = last < bounds.keys ? bounds.end_query(begin) : 0;
  }
  __device__ __forceinline__ bool none(int query, int count) const {
    return query + count <= any_begin_ || query >= any_end_;
  }
  __device__ __forceinline__ bool all(int query, int count) const {
    return query >= all_begin_ && query + count <= all_end_;
  }
  __device__ __forceinline__ int begin() const { return any_begin_; }
  __device__ __forceinline__ int end() const { return any_end_ > any_begin_ ? any_end_ : any_begin_; }

 private:
  int any_begin_, any_end_, all_begin_, all_end_;
};

/// The keys that a query sees, from key `first` on; none where there is no such query.
struct SeenKeys {
  int low;
  unsigned count;

  __device__ __forceinline__ SeenKeys(const KeyBounds& bounds, int query, int first)
      : low(bounds.low(query) - first) {
    const int found = bounds.high(query) - bounds.low(query);
    count = query < bounds.queries && found > 0 ? static_cast<unsigned>(found) : 0;
  }
  __device__ __forceinline__ bool operator()(int key) const {
    return static_cast<unsigned>(key - low) < count;
  }
};

/// -inf for the scores that are not seen. Rows are queries, of this lane from `query` on; columns are keys in
/// the order FourAColumn, the tile's from `key` on.
template <int M, int N>
__device__ __forceinline__ void hide_unseen_keys(const KeyBounds& bounds, int query, int key,
                                                 float (&scores)[M][N][4]) {
  const int mine = static_cast<int>(threadIdx.x % 4) * 4;
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      const SeenKeys seen(bounds, query + 16 * m + 8 * h, key + mine);
#pragma unroll
      for (int n = 0; n < N; ++n)
#pragma unroll
        for (int e = 0; e < 2; ++e) {
          float& score = scores[m][n][2 * h + e];
          score = seen(n / 2 * 16 + n % 2 * 2 + e) ? score : -INFINITY;
        }
    }
}

/// The same where rows are keys in the order NeighboursARow, of this lane from `key` on, and columns queries,
/// the tile's from `query` on.
template <int M, int N>
__device__ __forceinline__ void hide_unseeing_queries(const KeyBounds& bounds, int query, int key,
                                                      float (&scores)[M][N][4]) {
  const int mine = static_cast<int>(threadIdx.x % 4) * 2;
#pragma unroll
  for (int n = 0; n < N; ++n)
#pragma unroll
    for (int e = 0; e < 2; ++e) {
      const SeenKeys seen(bounds, query + 8 * n + mine + e, key);
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          float& score = scores[m][n][2 * h + e];
          score = seen(2 * m + h) ? score : -INFINITY;
        }
    }
}

/// Turns q k^T into what 2^(score * factor) is taken of.
struct ScoreScale {
  float scale, factor;

  /// Factors that are not positive are multiplied before -inf and maxima come in.
  __device__ __forceinline__ explicit ScoreScale(float scale_)
      : scale(scale_), factor(scale_ > 0.0f ? scale_ * log2_e : log2_e) {}
  template <int M, int N>
  __device__ __forceinline__ void operator()(float (&scores)[M][N][4]) const {
    if (scale > 0.0f) return;
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int n = 0; n < N; ++n)
#pragma unroll
        for (float& score : scores[m][n]) score *= scale;
  }
};

}  // namespace attune::cuda
