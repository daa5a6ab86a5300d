#pragma once

#include <attune/backend/cuda/kernels/attention_mma_forward.cuh>

// The backward of attention on tensor cores: a kernel for the queries and one for keys and values, so that
// each sum has one owner and one order. With P the weights, m dropout's factors and
//   delta_i = sum_j P_ij m_ij dy_i . v_j = dy_i . y_i,
//   dq_i = scale sum_j P_ij (m_ij dy_i . v_j - delta_i) k_j
//   dk_j = scale sum_i P_ij (m_ij dy_i . v_j - delta_i) q_i
//   dv_j = sum_i P_ij m_ij dy_i.
// What multiplies the rows k, q and dy is rounded to bfloat16 first.

namespace attune::cuda {

/// dy_i . y_i of this warp's 16 rows: lanes 2 i and 2 i + 1 get that of row i.
__device__ __forceinline__ float warp_deltas(const bf16* upstream, int upstream_stride,
                                             const HeadRows<const bf16>& y, int64_t begin, int64_t end) {
  const int row = static_cast<int>(threadIdx.x % 32) / 2;
  float sum = 0.0f;
  if (begin + row < end)
    for (int d = static_cast<int>(threadIdx.x % 2) * 8; d < y.size; d += 16) {
      const Pack<bf16> a = load_pack<bf16>(upstream + row * upstream_stride + d, 8, true);
      const Pack<bf16> b = load_pack<bf16>(y.at(begin + row, d), y.size - d, y.vectors);
#pragma unroll
      for (int k = 0; k < 8; ++k) sum += a.v[k] * b.v[k];
    }
  return sum + port::shfl_xor(sum, 1);
}

/// Also stores delta [Nq, heads] for the keys' backward. Grid as in the forward.
template <int D>
__global__ void __launch_bounds__(mma_threads, mma_blocks)
    attention_mma_backward_queries(Rows<const bf16> dy, Rows<const bf16> q, Rows<const bf16> k,
                                   Rows<const bf16> v, Rows<const bf16> y, Rows<const float> lse,
                                   float* delta, AttentionShape shape, Rows<bf16> dq) {
  ATTUNE_DYNAMIC_SHARED(bf16, shared);
  constexpr int tile_keys = mma_keys<D>, N = tile_keys / 8;
  const SequenceRows rows(shape);
  const int64_t tile = int64_t{blockIdx.x} * mma_rows;
  if (tile >= rows.query_count) return;  // the whole block
  const int head = static_cast<int>(blockIdx.y), kv_head = head / (shape.heads / shape.kv_heads);
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  bf16 *queries = shared, *upstream = queries + tile_elements<D>(mma_rows),
       *stages = upstream + tile_elements<D>(mma_rows);
  bf16* mine = queries + tile_elements<D>(16 * warp);
  const bf16* mine_upstream = upstream + tile_elements<D>(16 * warp);
  const HeadRows<const bf16> from_k(k, kv_head, shape.head_size), from_v(v, kv_head, shape.head_size);
  const int64_t key_end = rows.key_begin + rows.key_count, query_end = rows.query_begin + rows.query_count;
  const auto load = [&](int64_t first, int stage) {
    bf16* to = stages + stage * tile_elements<D>(2 * tile_keys);
    load_mma_tile<D, tile_keys>(to, from_k, rows.key_begin + first, key_end);
    load_mma_tile<D, tile_keys>(to + tile_elements<D>(tile_keys), from_v, rows.key_begin + first, key_end);
  };

  load_mma_tile<D, mma_rows>(queries, HeadRows<const bf16>(q, head, shape.head_size), rows.query_begin + tile,
                             query_end);
  load_mma_tile<D, mma_rows>(upstream, HeadRows<const bf16>(dy, head, shape.head_size),
                             rows.query_begin + tile, query_end);
  port::cp_async_commit();
  const WalkedKeys walk(shape, rows, tile, mma_rows);
  if (walk.begin < walk.end) load(walk.begin, 0);
  port::cp_async_commit();
  port::cp_async_wait<1>();
  port::sync_block();

  const int64_t first_row = rows.query_begin + tile + 16 * warp;  // this warp's
  const float dots = warp_deltas(mine_upstream, tile_stride<D>,
                                 HeadRows<const bf16>(y, head, shape.head_size), first_row, query_end);
  if (lane % 2 == 0 && first_row + lane / 2 < query_end)
    delta[(first_row + lane / 2) * shape.heads + head] = dots;
  float dot[2], log_sum[2] = {};  // of this lane's two rows
  dot[0] = port::shfl(dots, lane / 4 * 2);
  dot[1] = port::shfl(dots, lane / 4 * 2 + 16);
#pragma unroll
  for (int r = 0; r < 2; ++r)
    if (first_row + lane / 4 + 8 * r < query_end)
      log_sum[r] = lse.row(first_row + lane / 4 + 8 * r)[head] * log2_e;

  float sums[D / 8][4] = {};
  const float scale = shape.scale * log2_e, kept = shape.dropout.on ? shape.dropout.scale : 1.0f;
  int stage = 0;
  for (int64_t first = walk.begin; first < walk.end; first += tile_keys, stage ^= 1) {
    if (first + tile_keys < walk.end) load(first + tile_keys, stage ^ 1);
    port::cp_async_commit();
    port::cp_async_wait<1>();
    port::sync_block();
    const bf16 *keys = stages + stage * tile_elements<D>(2 * tile_keys),
               *values = keys + tile_elements<D>(tile_keys);
    float weights[N][4], grads[N][4];
    multiply_rows<D>(mine, keys, weights);
    multiply_rows<D>(mine_upstream, values, grads);
    uint32_t dropped = 0;
    if (shape.dropout.on) {
      const DropoutTile dropout{shape, first_row, query_end - 1, rows.key_begin + first, key_end - 1, head};
      dropped = dropout.queries_by_keys<N>();
    }
    const SeenKeys seen(shape, rows, tile + 16 * warp + lane / 4, first);
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const float p = seen(n, r) ? exp2f(weights[n][r] * scale - log_sum[r / 2]) : 0.0f;
        const float grad = dropped >> (4 * n + r) & 1u ? 0.0f : grads[n][r] * kept;
        weights[n][r] = p * (grad - dot[r / 2]);
      }
    add_weighted_rows<D, N>(weights, keys, sums);
    port::sync_block();  // the next turn overwrites this stage
  }
  port::cp_async_wait<0>();
  store_sums<D>(sums, shape.scale, shape.scale, mine, HeadRows<bf16>(dq, head, shape.head_size), first_row,
                query_end);
}

inline constexpr int mma_queries = 32;  ///< that keys walk over, in shared memory twice

/// What the keys' backward needs of a query beside its rows.
struct alignas(16) WalkedQuery {
  float log_sum, delta;  ///< the former in powers of two
  int low, high;         ///< the keys that it sees, from the block's first on
};

/// Over the queries of all heads that share the keys'. Grid: (tiles of keys of the longest sequence, key
/// heads, sequences).
template <int D>
__global__ void __launch_bounds__(mma_threads, mma_blocks)
    attention_mma_backward_keys(Rows<const bf16> dy, Rows<const bf16> q, Rows<const bf16> k,
                                Rows<const bf16> v, Rows<const float> lse, const float* delta,
                                AttentionShape shape, Rows<bf16> dk, Rows<bf16> dv) {
  ATTUNE_DYNAMIC_SHARED(bf16, shared);
  constexpr int N = mma_queries / 8;
  const SequenceRows rows(shape);
  const int64_t tile = int64_t{blockIdx.x} * mma_rows;
  if (tile >= rows.key_count) return;  // the whole block
  const int kv_head = static_cast<int>(blockIdx.y), group = shape.heads / shape.kv_heads;
  const int warp = static_cast<int>(threadIdx.x / 32), lane = static_cast<int>(threadIdx.x % 32);
  bf16 *keys = shared, *values = keys + tile_elements<D>(mma_rows),
       *stages = values + tile_elements<D>(mma_rows);
  auto* walked = reinterpret_cast<WalkedQuery*>(stages + tile_elements<D>(4 * mma_queries));
  bf16 *mine_keys = keys + tile_elements<D>(16 * warp), *mine_values = values + tile_elements<D>(16 * warp);
  const int64_t key_end = rows.key_begin + rows.key_count, query_end = rows.query_begin + rows.query_count;

  // The queries that may see one of the tile's keys.
  int64_t begin = shape.causal ? tile - shape.query_offset : 0, end = rows.query_count;
  if (begin < 0) begin = 0;
  if (shape.window > 0 && tile + mma_rows - 1 + shape.window - shape.query_offset < end)
    end = tile + mma_rows - 1 + shape.window - shape.query_offset;
  const int tiles = begin < end ? static_cast<int>((end - begin + mma_queries - 1) / mma_queries) : 0;
  const auto load = [&](int turn, int stage) {
    const int head = kv_head * group + turn / tiles;
    const int64_t first = begin + int64_t{turn % tiles} * mma_queries;
    bf16* to = stages + stage * tile_elements<D>(2 * mma_queries);
    load_mma_tile<D, mma_queries>(to, HeadRows<const bf16>(q, head, shape.head_size),
                                  rows.query_begin + first, query_end);
    load_mma_tile<D, mma_queries>(to + tile_elements<D>(mma_queries),
                                  HeadRows<const bf16>(dy, head, shape.head_size), rows.query_begin + first,
                                  query_end);
    const int64_t i = first + static_cast<int>(threadIdx.x), row = rows.query_begin + i;
    if (threadIdx.x >= mma_queries) return;
    WalkedQuery query{};  // seen by none
    if (i < rows.query_count) {
      query.log_sum = lse.row(row)[head] * log2_e;
      query.delta = delta[row * shape.heads + head];
      query.low = static_cast<int>(shape.first_key(i, rows.key_count) - tile);
      query.high = static_cast<int>(shape.last_key(i, rows.key_count) - tile);
    }
    walked[stage * mma_queries + static_cast<int>(threadIdx.x)] = query;
  };

  load_mma_tile<D, mma_rows>(keys, HeadRows<const bf16>(k, kv_head, shape.head_size), rows.key_begin + tile,
                             key_end);
  load_mma_tile<D, mma_rows>(values, HeadRows<const bf16>(v, kv_head, shape.head_size), rows.key_begin + tile,
                             key_end);
  const int turns = tiles * group;
  if (turns > 0) load(0, 0);
  port::cp_async_commit();
  float key_sums[D / 8][4] = {}, value_sums[D / 8][4] = {};
  const float scale = shape.scale * log2_e, kept = shape.dropout.on ? shape.dropout.scale : 1.0f;
  for (int turn = 0; turn < turns; ++turn) {
    const int stage = turn % 2;
    if (turn + 1 < turns) load(turn + 1, stage ^ 1);
    port::cp_async_commit();
    port::cp_async_wait<1>();
    port::sync_block();
    const bf16 *queries = stages + stage * tile_elements<D>(2 * mma_queries),
               *upstream = queries + tile_elements<D>(mma_queries);
    float weights[N][4], grads[N][4];
    multiply_rows<D>(mine_keys, queries, weights);
    multiply_rows<D>(mine_values, upstream, grads);
    uint32_t dropped = 0;
    if (shape.dropout.on) {
      const DropoutTile dropout{shape,         rows.query_begin + begin + int64_t{turn % tiles} * mma_queries,
                                query_end - 1, rows.key_begin + tile + 16 * warp,
                                key_end - 1,   kv_head * group + turn / tiles};
      dropped = dropout.keys_by_queries<N>();
    }
#pragma unroll
    for (int n = 0; n < N; ++n)
#pragma unroll
      for (int r = 0; r < 4; ++r) {
        const WalkedQuery query = walked[stage * mma_queries + 8 * n + lane % 4 * 2 + r % 2];
        const int key = 16 * warp + lane / 4 + r / 2 * 8;
        const bool seen = key >= query.low && key < query.high;
        const bool drop = dropped >> (4 * n + r) & 1u;
        const float p = seen ? exp2f(weights[n][r] * scale - query.log_sum) : 0.0f;
        weights[n][r] = drop ? 0.0f : p;
        grads[n][r] = p * ((drop ? 0.0f : grads[n][r] * kept) - query.delta);
      }
    add_weighted_rows<D, N>(weights, upstream, value_sums);
    add_weighted_rows<D, N>(grads, queries, key_sums);
    port::sync_block();  // the next turn overwrites this stage
  }
  port::cp_async_wait<0>();
  port::sync_block();  // where nothing was walked, keys and values may still have been on their way
  const int64_t first_row = rows.key_begin + tile + 16 * warp;
  store_sums<D>(key_sums, shape.scale, shape.scale, mine_keys, HeadRows<bf16>(dk, kv_head, shape.head_size),
                first_row, key_end);
  store_sums<D>(value_sums, kept, kept, mine_values, HeadRows<bf16>(dv, kv_head, shape.head_size), first_row,
                key_end);
}

inline void attention_backward_on_tensor_cores(Context& context, MatrixView<const bfloat16> dy,
                                               MatrixView<const bfloat16> q, MatrixView<const bfloat16> k,
                                               MatrixView<const bfloat16> v, MatrixView<const bfloat16> y,
                                               MatrixView<const float> lse, const AttentionOptions& options,
                                               MatrixView<bfloat16> dq, MatrixView<bfloat16> dk,
                                               MatrixView<bfloat16> dv) {
  const Workspace<float> delta(context, static_cast<std::size_t>(q.rows * options.heads));
  const AttentionShape shape(options);
  for_mma_columns(options.head_size, [&](auto columns) {
    constexpr int D = columns.value;
    if (q.rows > 0) {
      const auto kernel = attention_mma_backward_queries<D>;
      const dim3 grid =
          mma_grid(options.query_segments.max_length, options.heads, options.query_segments.count);
      const auto config =
          attention_config(context, kernel, grid, mma_threads, tile_bytes<D>(2 * mma_rows + 4 * mma_keys<D>));
      check(ATTUNE_LAUNCH(config, kernel, rows_of(dy), rows_of(q), rows_of(k), rows_of(v), rows_of(y),
                          rows_of(lse), delta.data(), shape, rows_of(dq)),
            "attention_backward");
    }
    if (k.rows > 0) {
      const auto kernel = attention_mma_backward_keys<D>;
      const dim3 grid =
          mma_grid(options.key_segments.max_length, options.kv_heads, options.key_segments.count);
      const auto config = attention_config(
          context, kernel, grid, mma_threads,
          tile_bytes<D>(2 * mma_rows + 4 * mma_queries) + 2 * mma_queries * sizeof(WalkedQuery));
      check(ATTUNE_LAUNCH(config, kernel, rows_of(dy), rows_of(q), rows_of(k), rows_of(v), rows_of(lse),
                          delta.data(), shape, rows_of(dk), rows_of(dv)),
            "attention_backward");
    }
  });
}

}  // namespace attune::cuda
