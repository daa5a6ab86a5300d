#pragma once

#include <type_traits>

#include <attune/backend/cuda/kernels/attention_dropout.cuh>
#include <attune/backend/cuda/kernels/attention_mask.cuh>

// Attention of bfloat16 rows on tensor cores (Dao, "FlashAttention-2", arXiv:2307.08691). Scores and sums are
// floats; weights are rounded to bfloat16 before they multiply the values.
//
// A warp owns 32 queries and takes 32 keys at a time, a block of four warps walks over tiles of keys in
// shared memory, two of them: one is worked on while the next is on its way.

namespace attune::cuda {

/// Keys in shared memory at once, twice.
template <int D>
inline constexpr int mma_keys = D <= 64 ? 64 : 32;
inline constexpr int mma_step = 32;  ///< keys that a warp multiplies at once

/// How many powers of two a weight may be above 1 before its row's sums are scaled down. Rescaling whenever a
/// larger score comes costs a multiplication for each sum in nearly every tile; the largest score so far is
/// as good a reference as the largest of all.
inline constexpr float mma_headroom = 8.0f;

/// Blocks of a multiprocessor for which the compiler leaves room: for more of them it would spill registers.
template <int D>
inline constexpr int mma_forward_blocks = D <= 64 ? 3 : 2;

/// Blocks: tiles of queries of the longest sequence, the last first (they see most under a causal mask), for
/// each head and sequence.
template <int D>
__global__ void __launch_bounds__(mma_threads, mma_forward_blocks<D>)
    attention_mma_forward(BlockOrder order, Rows<const bf16> q, Rows<const bf16> k, Rows<const bf16> v,
                          AttentionShape shape, Rows<bf16> y, Rows<float> lse) {
  ATTUNE_DYNAMIC_SHARED(bf16, shared);
  constexpr int M = 2, N = mma_step / 8, tile_keys = mma_keys<D>;
  if (!order.present()) return;
  const BlockOrder::Block block = order.block();
  const SequenceRows rows(shape, block.sequence);
  const KeyBounds bounds(shape, rows);
  const int tile = block.last_first() * mma_rows<M>;
  if (tile >= bounds.queries) return;  // the whole block
  const int head = block.head, kv_head = head / (shape.heads / shape.kv_heads);
  const int warp = uniform(static_cast<int>(threadIdx.x / 32)), lane = static_cast<int>(threadIdx.x % 32);
  bf16 *queries = shared, *stages = queries + tile_elements<D>(mma_rows<M>);
  bf16* mine = queries + tile_elements<D>(16 * M * warp);
  const auto of_queries = [&](const auto& all) {
    return HeadRows(all, rows.query_begin, bounds.queries, head, shape.head_size);
  };
  const auto of_keys = [&](const auto& all) {
    return HeadRows(all, rows.key_begin, bounds.keys, kv_head, shape.head_size);
  };
  const auto load = [&](int first, int stage) {
    bf16* to = stages + stage * tile_elements<D>(2 * tile_keys);
    load_mma_tile<D, tile_keys>(to, of_keys(k), first, FourAColumn());
    load_mma_tile<D, tile_keys>(to + tile_elements<D>(tile_keys), of_keys(v), first, FourAColumn());
  };

  load_mma_tile<D, mma_rows<M>>(queries, of_queries(q), tile, InOrder());
  const WalkedKeys walk(bounds, tile, mma_rows<M>);
  if (walk.begin < walk.end) load(walk.begin, 0);
  port::cp_async_commit();
  const int warp_query = tile + 16 * M * warp,
            query = warp_query + lane / 4;  // the warp's first, this lane's
  const SeenByQueries seen(bounds, warp_query, 16 * M);
  const QueryDropout<M> dropout(shape, rows, head, query, walk.begin, walk.end);
  const ScoreScale scale(shape.scale);
  float largest[M][2], total[M][2] = {}, sums[M][D / 8][4] = {};  // largest: what weights refer to
#pragma unroll
  for (int m = 0; m < M; ++m) largest[m][0] = largest[m][1] = -INFINITY;

  int stage = 0;
  for (int first = walk.begin; first < walk.end; first += tile_keys, stage ^= 1) {
    port::cp_async_wait<0>();
    port::sync_block();  // this tile is there, and the one before has been used
    if (first + tile_keys < walk.end) load(first + tile_keys, stage ^ 1);
    port::cp_async_commit();
#pragma unroll 1
    for (int at = 0; at < tile_keys; at += mma_step) {
      const int key = first + at;
      if (seen.none(key)) continue;
      const bf16 *keys = stages + stage * tile_elements<D>(2 * tile_keys) + tile_elements<D>(at),
                 *values = keys + tile_elements<D>(tile_keys);
      float weights[M][N][4];
      multiply_rows<D>(mine, keys, weights);
      scale(weights);
      if (!seen.all(key, mma_step)) hide_unseen_keys(bounds, query, key, weights);

      float reached[M][2];
      bool beyond = false;
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          float value = fmaxf(weights[m][0][2 * h], weights[m][0][2 * h + 1]);
#pragma unroll
          for (int n = 1; n < N; ++n)
            value = fmaxf(value, fmaxf(weights[m][n][2 * h], weights[m][n][2 * h + 1]));
          reached[m][h] = row_max(value);
          // -inf minus -inf is no number, and not greater: nothing has been seen yet.
          beyond |= (reached[m][h] - largest[m][h]) * scale.factor > mma_headroom;
        }
      if (port::ballot(beyond) != 0) {
#pragma unroll
        for (int m = 0; m < M; ++m)
#pragma unroll
          for (int h = 0; h < 2; ++h) {
            // Each row decides for itself: its bits do not depend on its neighbours.
            const float growth = (reached[m][h] - largest[m][h]) * scale.factor;
            const float correction = growth > mma_headroom ? port::exp2_fast(-growth) : 1.0f;
            if (growth > mma_headroom) largest[m][h] = reached[m][h];
            total[m][h] *= correction;
#pragma unroll
            for (int d = 0; d < D / 8; ++d) {
              sums[m][d][2 * h] *= correction;
              sums[m][d][2 * h + 1] *= correction;
            }
          }
      }
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int h = 0; h < 2; ++h) {
          const float base = largest[m][h] == -INFINITY ? 0.0f : -largest[m][h] * scale.factor;
#pragma unroll
          for (int n = 0; n < N; ++n)
#pragma unroll
            for (int e = 0; e < 2; ++e) {
              float& weight = weights[m][n][2 * h + e];
              weight = port::exp2_fast(weight * scale.factor + base);
              total[m][h] += weight;
            }
        }
      uint32_t packed[M][N][2];
      pack(weights, packed);
      if (shape.dropout.on)
        dropout.template decide<N>(key, [&](int m, int n, int r, bool dropped) {
          if (dropped) packed[m][n][r / 2] &= r % 2 == 0 ? 0xffff0000u : 0x0000ffffu;
        });
      add_weighted_rows<D>(packed, values, sums);
    }
  }
  port::cp_async_wait<0>();
  port::sync_block();  // where nothing was walked, the queries may still have been on their way
  const float kept = shape.dropout.on ? shape.dropout.scale : 1.0f;
  float factors[M][2];
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      total[m][h] = row_sum(total[m][h]);
      const bool empty = largest[m][h] == -INFINITY;
      factors[m][h] = empty ? 0.0f : kept / total[m][h];
      const int i = query + 16 * m + 8 * h;
      if (lane % 4 == 0 && i < bounds.queries)
        lse.row(rows.query_begin + i)[head] =
            empty ? -INFINITY : (largest[m][h] * scale.factor + log2f(total[m][h])) * log_2;
    }
  store_sums<D>(sums, factors, mine, of_queries(y), warp_query, InOrder());
}

inline bool fits_tensor_cores(const AttentionOptions& options) { return options.head_size <= 128; }

/// Calls f with the columns of tiles for heads of that size, as an integral constant.
template <class F>
void for_mma_columns(std::int64_t head_size, const F& f) {
  if (head_size <= 32)
    f(std::integral_constant<int, 32>());
  else if (head_size <= 64)
    f(std::integral_constant<int, 64>());
  else if (head_size <= 96)
    f(std::integral_constant<int, 96>());
  else
    f(std::integral_constant<int, 128>());
}

template <int D>
std::size_t tile_bytes(int rows) {
  return static_cast<std::size_t>(tile_elements<D>(rows)) * sizeof(bf16);
}

/// Of a row of keys and values, or of queries and upstream gradients.
template <int D>
inline constexpr std::int64_t walked_bytes = 2 * D * sizeof(bf16);

inline void attention_on_tensor_cores(Context& context, MatrixView<const bfloat16> q,
                                      MatrixView<const bfloat16> k, MatrixView<const bfloat16> v,
                                      const AttentionOptions& options, MatrixView<bfloat16> y,
                                      MatrixView<float> lse) {
  for_mma_columns(options.head_size, [&](auto columns) {
    constexpr int D = columns.value;
    const auto kernel = attention_mma_forward<D>;
    const SegmentsView &queries = options.query_segments, &keys = options.key_segments;
    const BlockOrder order(options.heads, queries.count);
    const dim3 grid = order.grid(queries.max_length, mma_rows<2>, keys.max_length * walked_bytes<D>);
    const auto config =
        attention_config(context, kernel, grid, mma_threads, tile_bytes<D>(mma_rows<2> + 4 * mma_keys<D>));
    check(ATTUNE_LAUNCH(config, kernel, order, rows_of(q), rows_of(k), rows_of(v), AttentionShape(options),
                        rows_of(y), rows_of(lse)),
          "attention");
  });
}

}  // namespace attune::cuda
