#pragma once

#include <type_traits>

#include <attune/backend/cuda/kernels/attention_dropout.cuh>
#include <attune/backend/cuda/kernels/mma_tiles.cuh>

// Attention of bfloat16 rows on tensor cores (Dao, "FlashAttention-2", arXiv:2307.08691). Scores and sums are
// floats; weights are rounded to bfloat16 before they multiply the values.

namespace attune::cuda {

inline constexpr float log2_e = 1.44269504f, log_2 = 0.69314718f;

/// Keys in shared memory at once, twice: one tile is worked on while the next is on its way.
template <int D>
inline constexpr int mma_keys = D <= 64 ? 64 : 32;

/// The keys that this lane's two rows of an accumulator see, from the walk's tile on: low <= key < high.
struct SeenKeys {
  int low[2], high[2];

  __device__ __forceinline__ SeenKeys(const AttentionShape& shape, const SequenceRows& rows, int64_t query,
                                      int64_t first) {
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      const int64_t i = query + 8 * r;
      const bool present = i < rows.query_count;
      low[r] = present ? static_cast<int>(shape.first_key(i, rows.key_count) - first) : 0;
      high[r] = present ? static_cast<int>(shape.last_key(i, rows.key_count) - first) : 0;
    }
  }
  /// Of accumulator element [n][r].
  __device__ __forceinline__ bool operator()(int n, int r) const {
    const int key = 8 * n + static_cast<int>(threadIdx.x % 4) * 2 + r % 2;
    return key >= low[r / 2] && key < high[r / 2];
  }
};

/// The keys that any of the queries begin .. begin + count sees, from a multiple of 8 on.
struct WalkedKeys {
  int64_t begin, end;

  __device__ __forceinline__ WalkedKeys(const AttentionShape& shape, const SequenceRows& rows, int64_t query,
                                        int64_t count) {
    const int64_t last = (query + count < rows.query_count ? query + count : rows.query_count) - 1;
    begin = shape.first_key(query, rows.key_count) / 8 * 8;
    end = shape.last_key(last, rows.key_count);
  }
};

/// Grid: (tiles of queries of the longest sequence, heads, sequences).
template <int D>
__global__ void __launch_bounds__(mma_threads, mma_blocks)
    attention_mma_forward(Rows<const bf16> q, Rows<const bf16> k, Rows<const bf16> v, AttentionShape shape,
                          Rows<bf16> y, Rows<float> lse) {
  ATTUNE_DYNAMIC_SHARED(bf16, shared);
  constexpr int tile_keys = mma_keys<D>, N = tile_keys / 8;
  const SequenceRows rows(shape);
  const int64_t tile = int64_t{blockIdx.x} * mma_rows;
  if (tile >= rows.query_count) return;  // the whole block
  const int head = static_cast<int>(blockIdx.y), kv_head = head / (shape.heads / shape.kv_heads);
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  bf16 *queries = shared, *stages = queries + tile_elements<D>(mma_rows);
  bf16* mine = queries + tile_elements<D>(16 * warp);
  const HeadRows<const bf16> from_k(k, kv_head, shape.head_size), from_v(v, kv_head, shape.head_size);
  const int64_t key_end = rows.key_begin + rows.key_count;
  const auto load = [&](int64_t first, int stage) {
    bf16* to = stages + stage * tile_elements<D>(2 * tile_keys);
    load_mma_tile<D, tile_keys>(to, from_k, rows.key_begin + first, key_end);
    load_mma_tile<D, tile_keys>(to + tile_elements<D>(tile_keys), from_v, rows.key_begin + first, key_end);
  };

  load_mma_tile<D, mma_rows>(queries, HeadRows<const bf16>(q, head, shape.head_size), rows.query_begin + tile,
                             rows.query_begin + rows.query_count);
  const int64_t query = tile + 16 * warp + lane / 4;  // the first of this lane's two
  float largest[2] = {-INFINITY, -INFINITY}, total[2] = {}, sums[D / 8][4] = {};
  const WalkedKeys walk(shape, rows, tile, mma_rows);
  const float scale = shape.scale * log2_e;  // powers of two instead of e
  if (walk.begin < walk.end) load(walk.begin, 0);
  port::cp_async_commit();
  int stage = 0;
  for (int64_t first = walk.begin; first < walk.end; first += tile_keys, stage ^= 1) {
    if (first + tile_keys < walk.end) load(first + tile_keys, stage ^ 1);
    port::cp_async_commit();
    port::cp_async_wait<1>();
    port::sync_block();
    const bf16 *keys = stages + stage * tile_elements<D>(2 * tile_keys),
               *values = keys + tile_elements<D>(tile_keys);
    float weights[N][4];
    multiply_rows<D>(mine, keys, weights);
    const SeenKeys seen(shape, rows, query, first);
    float reached[2] = {largest[0], largest[1]};
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        weights[n][r] = seen(n, r) ? weights[n][r] * scale : -INFINITY;
        reached[r / 2] = fmaxf(reached[r / 2], weights[n][r]);
      }
    float correction[2];
#pragma unroll
    for (int r = 0; r < 2; ++r) {
      reached[r] = row_max(reached[r]);
      // Where nothing has been seen yet there is nothing to correct, and -inf - -inf is no number.
      correction[r] = reached[r] == -INFINITY ? 1.0f : exp2f(largest[r] - reached[r]);
      largest[r] = reached[r];
      total[r] *= correction[r];
    }
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        weights[n][r] = exp2f(weights[n][r] - (largest[r / 2] == -INFINITY ? 0.0f : largest[r / 2]));
        total[r / 2] += weights[n][r];
      }
#pragma unroll
    for (int d = 0; d < D / 8; ++d)
#pragma unroll
      for (int r = 0; r < 4; ++r) sums[d][r] *= correction[r / 2];
    if (shape.dropout.on) {
      const DropoutTile dropout{shape,
                                rows.query_begin + tile + 16 * warp,
                                rows.query_begin + rows.query_count - 1,
                                rows.key_begin + first,
                                key_end - 1,
                                head};
      const uint32_t dropped = dropout.queries_by_keys<N>();
#pragma unroll
      for (int n = 0; n < N; ++n)
#pragma unroll
        for (int r = 0; r < 4; ++r)
          if (dropped >> (4 * n + r) & 1u) weights[n][r] = 0.0f;
    }
    add_weighted_rows<D, N>(weights, values, sums);
    port::sync_block();  // the next turn overwrites this stage
  }
  port::cp_async_wait<0>();
  port::sync_block();  // where nothing was walked, the queries may still have been on their way
  const float kept = shape.dropout.on ? shape.dropout.scale : 1.0f;
  float factor[2];
#pragma unroll
  for (int r = 0; r < 2; ++r) {
    total[r] = row_sum(total[r]);
    const bool empty = largest[r] == -INFINITY;
    factor[r] = empty ? 0.0f : kept / total[r];
    if (lane % 4 == 0 && query + 8 * r < rows.query_count)
      lse.row(rows.query_begin + query + 8 * r)[head] =
          empty ? -INFINITY : (largest[r] + log2f(total[r])) * log_2;
  }
  store_sums<D>(sums, factor[0], factor[1], mine, HeadRows<bf16>(y, head, shape.head_size),
                rows.query_begin + tile + 16 * warp, rows.query_begin + rows.query_count);
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

inline dim3 mma_grid(std::int32_t longest, std::int64_t heads, std::int64_t sequences) {
  return dim3(static_cast<unsigned>(ceil_div(longest, mma_rows)), static_cast<unsigned>(heads),
              static_cast<unsigned>(sequences));
}
template <int D>
std::size_t tile_bytes(int rows) {
  return static_cast<std::size_t>(tile_elements<D>(rows)) * sizeof(bf16);
}

inline void attention_on_tensor_cores(Context& context, MatrixView<const bfloat16> q,
                                      MatrixView<const bfloat16> k, MatrixView<const bfloat16> v,
                                      const AttentionOptions& options, MatrixView<bfloat16> y,
                                      MatrixView<float> lse) {
  for_mma_columns(options.head_size, [&](auto columns) {
    constexpr int D = columns.value;
    const auto kernel = attention_mma_forward<D>;
    const auto config = attention_config(
        context, kernel,
        mma_grid(options.query_segments.max_length, options.heads, options.query_segments.count), mma_threads,
        tile_bytes<D>(mma_rows + 4 * mma_keys<D>));
    check(ATTUNE_LAUNCH(config, kernel, rows_of(q), rows_of(k), rows_of(v), AttentionShape(options),
                        rows_of(y), rows_of(lse)),
          "attention");
  });
}

}  // namespace attune::cuda
