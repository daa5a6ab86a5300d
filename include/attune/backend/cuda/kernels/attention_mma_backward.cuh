#pragma once

#include <attune/backend/cuda/kernels/attention_mma_forward.cuh>

// The backward of attention on tensor cores: a kernel for the queries and one for keys and values, so that
// each sum has one owner and one order. With P the weights, m dropout's factors and
//   delta_i = sum_j P_ij m_ij dy_i . v_j = dy_i . y_i,
//   dq_i = scale sum_j P_ij (m_ij dy_i . v_j - delta_i) k_j
//   dk_j = scale sum_i P_ij (m_ij dy_i . v_j - delta_i) q_i
//   dv_j = sum_i P_ij m_ij dy_i.
// What multiplies the rows k, q and dy is rounded to bfloat16 first.
//
// Both make the scores: two of seven products could be saved by one kernel with atomic sums of dq, of which
// the bits would change from run to run. What is costly beside the products is made once: the queries' kernel
// leaves dropout's decisions and the numbers of each query for that of the keys.

namespace attune::cuda {

/// 16 M rows are a warp's own in the backward: of wide heads there are more sums than registers for two.
template <int D>
inline constexpr int mma_backward_m = D <= 64 ? 2 : 1;
inline constexpr int mma_backward_blocks = 2;  ///< of a multiprocessor, as mma_forward_blocks

/// Of a query, for P_ij = 2^(score factor + log_sum): both are negative.
struct alignas(8) QueryNumbers {
  float log_sum, delta;
};

/// What the queries' kernel leaves for that of the keys, for heads from `first_head` on.
struct BackwardNotes {
  QueryNumbers* numbers;  ///< heads by query rows
  DroppedBits dropped;
  int first_head;

  __device__ __forceinline__ QueryNumbers* at(int head, int64_t query_row) const {
    return numbers + (head - first_head) * dropped.queries + query_row;
  }
  __device__ __forceinline__ uint32_t* bits(int head, int group, int64_t query_row) const {
    return dropped.at(head - first_head, group, query_row);
  }
};

/// The rows begin .. of a warp, two lanes a row.
template <int D, int M>
struct PairedRows {
  static constexpr int packs = D / 16;
  Pack<bf16> values[M][packs];

  __device__ __forceinline__ PairedRows(const HeadRows<const bf16>& from, int begin) {
#pragma unroll
    for (int m = 0; m < M; ++m)
#pragma unroll
      for (int i = 0; i < packs; ++i) {
        const int row = begin + 16 * m + static_cast<int>(threadIdx.x % 32) / 2;
        const int d = 16 * i + static_cast<int>(threadIdx.x % 2) * 8;
        values[m][i] = row < from.count && d < from.size
                           ? load_pack<bf16>(from.at(row, d), from.size - d, from.vectors)
                           : Pack<bf16>{};
      }
  }
  /// Times the rows of a warp's tile: lanes 2 i and 2 i + 1 get those of rows i, 16 + i.
  __device__ __forceinline__ void dot(const bf16* warp_tile, float (&dots)[M]) const {
    const bf16* mine = warp_tile + static_cast<int>(threadIdx.x % 32) / 2 * tile_stride<D> +
                       static_cast<int>(threadIdx.x % 2) * 8;
#pragma unroll
    for (int m = 0; m < M; ++m) {
      dots[m] = 0.0f;
#pragma unroll
      for (int i = 0; i < packs; ++i) {
        const Pack<bf16> other = load_pack<bf16>(mine + 16 * m * tile_stride<D> + 16 * i, 8, true);
#pragma unroll
        for (int k = 0; k < 8; ++k) dots[m] += values[m][i].v[k] * other.v[k];
      }
      dots[m] += port::shfl_xor(dots[m], 1);
    }
  }
};

/// Blocks as in the forward, of some heads.
template <int D>
__global__ void __launch_bounds__(mma_threads, mma_backward_blocks)
    attention_mma_backward_queries(BlockOrder order, Rows<const bf16> dy, Rows<const bf16> q,
                                   Rows<const bf16> k, Rows<const bf16> v, Rows<const bf16> y,
                                   Rows<const float> lse, BackwardNotes notes, AttentionShape shape,
                                   Rows<bf16> dq) {
  ATTUNE_DYNAMIC_SHARED(bf16, shared);
  constexpr int M = mma_backward_m<D>, N = mma_step / 8, tile_keys = mma_keys<D>;
  if (!order.present()) return;
  const BlockOrder::Block block = order.block();
  const SequenceRows rows(shape, block.sequence);
  const KeyBounds bounds(shape, rows);
  const int tile = block.last_first() * mma_rows<M>;
  if (tile >= bounds.queries) return;  // the whole block
  const int head = notes.first_head + block.head, kv_head = head / (shape.heads / shape.kv_heads);
  const int warp = uniform(static_cast<int>(threadIdx.x / 32)), lane = static_cast<int>(threadIdx.x % 32);
  bf16 *queries = shared, *upstream = queries + tile_elements<D>(mma_rows<M>),
       *stages = upstream + tile_elements<D>(mma_rows<M>);
  bf16* mine = queries + tile_elements<D>(16 * M * warp);
  const bf16* mine_upstream = upstream + tile_elements<D>(16 * M * warp);
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
  load_mma_tile<D, mma_rows<M>>(upstream, of_queries(dy), tile, InOrder());
  port::cp_async_commit();
  const WalkedKeys walk(bounds, tile, mma_rows<M>);
  if (walk.begin < walk.end) load(walk.begin, 0);
  port::cp_async_commit();
  const int warp_query = tile + 16 * M * warp,
            query = warp_query + lane / 4;  // the warp's first, this lane's
  const SeenByQueries seen(bounds, warp_query, 16 * M);
  const QueryDropout<M> dropout(shape, rows, head, query, walk.begin, walk.end);
  const ScoreScale scale(shape.scale);

  QueryNumbers numbers[M][2];
  {
    const PairedRows<D, M> outputs(of_queries(y), warp_query);
    float log_sums[M], dots[M];  // of the rows that lanes share by pairs
#pragma unroll
    for (int m = 0; m < M; ++m) {
      const int i = warp_query + 16 * m + lane / 2;
      const float log_sum = i < bounds.queries ? lse.row(rows.query_begin + i)[head] : -INFINITY;
      log_sums[m] = log_sum == -INFINITY ? 0.0f : -log_sum * log2_e;  // that query sees no keys
    }
    port::cp_async_wait<1>();
    port::sync_block();
    outputs.dot(mine_upstream, dots);
#pragma unroll
    for (int m = 0; m < M; ++m) {
      const int i = warp_query + 16 * m + lane / 2;
      if (lane % 2 == 0 && i < bounds.queries)
        *notes.at(head, rows.query_begin + i) = {log_sums[m], -dots[m]};
#pragma unroll
      for (int h = 0; h < 2; ++h) {
        numbers[m][h].log_sum = port::shfl(log_sums[m], lane / 4 * 2 + 16 * h);
        numbers[m][h].delta = port::shfl(-dots[m], lane / 4 * 2 + 16 * h);
      }
    }
  }

  float sums[M][D / 8][4] = {};
  const float kept = shape.dropout.on ? shape.dropout.scale : 1.0f;
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
      float weights[M][N][4], grads[M][N][4];
      multiply_rows<D>(mine, keys, weights);
      scale(weights);
      if (!seen.all(key, mma_step)) hide_unseen_keys(bounds, query, key, weights);
      multiply_rows<D>(mine_upstream, values, grads);
      if (shape.dropout.on) {
        uint32_t dropped_bits = 0;
        dropout.template decide<N>(key, [&](int m, int n, int r, bool dropped) {
          if (!dropped) return;
          grads[m][n][r] = 0.0f;
          dropped_bits |= 1u << (16 * m + r / 2 * 8 + n * 2 + r % 2);
        });
#pragma unroll
        for (int i = 0; i < 2 * M; ++i)
          if (query + 8 * i < bounds.queries) {
            uint32_t* word = notes.bits(head, key / mma_step, rows.query_begin + query + 8 * i);
            reinterpret_cast<unsigned char*>(word)[lane % 4] =
                static_cast<unsigned char>(dropped_bits >> (8 * i));
          }
      }
#pragma unroll
      for (int m = 0; m < M; ++m)
#pragma unroll
        for (int n = 0; n < N; ++n)
#pragma unroll
          for (int r = 0; r < 4; ++r) {
            const QueryNumbers& row = numbers[m][r / 2];
            weights[m][n][r] = port::exp2_fast(weights[m][n][r] * scale.factor + row.log_sum) *
                               (grads[m][n][r] * kept + row.delta);
          }
      uint32_t packed[M][N][2];
      pack(weights, packed);
      add_weighted_rows<D>(packed, keys, sums);
    }
  }
  port::cp_async_wait<0>();
  float factors[M][2];
#pragma unroll
  for (int m = 0; m < M; ++m) factors[m][0] = factors[m][1] = shape.scale;
  store_sums<D>(sums, factors, mine, of_queries(dq), warp_query, InOrder());
}

/// Queries that keys walk over, in shared memory twice.
template <int D>
inline constexpr int mma_queries = D <= 64 ? 64 : 32;
inline constexpr int mma_query_step = 32;  ///< of these, what a warp multiplies at once

/// Over the queries of all heads that share the keys'. Blocks: tiles of keys of the longest sequence (the
/// first are seen by most queries under a causal mask), for each of some key heads and each sequence.
template <int D>
__global__ void __launch_bounds__(mma_threads, mma_backward_blocks)
    attention_mma_backward_keys(BlockOrder order, Rows<const bf16> dy, Rows<const bf16> q, Rows<const bf16> k,
                                Rows<const bf16> v, BackwardNotes notes, AttentionShape shape, Rows<bf16> dk,
                                Rows<bf16> dv) {
  ATTUNE_DYNAMIC_SHARED(bf16, shared);
  constexpr int M = mma_backward_m<D>, N = mma_query_step / 8, tile_queries = mma_queries<D>;
  constexpr int groups = mma_rows<M> / 32;  // of keys whose decisions share words
  if (!order.present()) return;
  const BlockOrder::Block block = order.block();
  const SequenceRows rows(shape, block.sequence);
  const KeyBounds bounds(shape, rows);
  const int tile = block.tile * mma_rows<M>;
  if (tile >= bounds.keys) return;  // the whole block
  const int group_heads = uniform(shape.heads / shape.kv_heads),
            kv_head = uniform(notes.first_head / group_heads) + block.head;
  const int warp = uniform(static_cast<int>(threadIdx.x / 32)), lane = static_cast<int>(threadIdx.x % 32);
  bf16 *keys = shared, *values = keys + tile_elements<D>(mma_rows<M>),
       *stages = values + tile_elements<D>(mma_rows<M>);
  auto* all_numbers = reinterpret_cast<QueryNumbers*>(stages + tile_elements<D>(4 * tile_queries));
  auto* all_dropped = reinterpret_cast<uint32_t*>(all_numbers + 2 * tile_queries);
  bf16 *mine_keys = keys + tile_elements<D>(16 * M * warp),
       *mine_values = values + tile_elements<D>(16 * M * warp);
  const SeeingQueries walk(bounds, tile, mma_rows<M>);
  const auto of_keys = [&](const auto& all) {
    return HeadRows(all, rows.key_begin, bounds.keys, kv_head, shape.head_size);
  };
  const auto load = [&](int head, int first, int stage) {
    bf16* to = stages + stage * tile_elements<D>(2 * tile_queries);
    const auto of_queries = [&](const Rows<const bf16>& all) {
      return HeadRows(all, rows.query_begin, bounds.queries, head, shape.head_size);
    };
    load_mma_tile<D, tile_queries>(to, of_queries(q), first, InOrder());
    load_mma_tile<D, tile_queries>(to + tile_elements<D>(tile_queries), of_queries(dy), first, InOrder());
    const int i = static_cast<int>(threadIdx.x % tile_queries),
              part = static_cast<int>(threadIdx.x / tile_queries);
    // Queries that the sequence does not have are hidden later: any numbers do, if they are numbers.
    const int64_t row = rows.query_begin + (first + i < bounds.queries ? first + i : bounds.queries - 1);
    if (part == 0) port::cp_async_small<8>(all_numbers + stage * tile_queries + i, notes.at(head, row));
    if (!shape.dropout.on) return;
    const uint32_t* from = notes.bits(head, tile / 32 + part, row);
    uint32_t* words = all_dropped + (stage * groups + part) * tile_queries + i;
    constexpr int parts = mma_threads / tile_queries;
#pragma unroll
    for (int group = 0; group < groups; group += parts) {
      if (groups < parts && part >= groups) break;
      port::cp_async_small<4>(words + group * tile_queries, from);
      from += parts * notes.dropped.queries;
    }
  };

  load_mma_tile<D, mma_rows<M>>(keys, of_keys(k), tile, NeighboursARow<M>());
  load_mma_tile<D, mma_rows<M>>(values, of_keys(v), tile, NeighboursARow<M>());
  const int turns = uniform((walk.end() - walk.begin() + tile_queries - 1) / tile_queries * group_heads);
  int head = kv_head * group_heads, first = walk.begin();
  if (turns > 0) load(head, first, 0);
  port::cp_async_commit();
  const int warp_key = tile + 16 * M * warp,
            key = warp_key + lane / 4 * 2 * M;  // the warp's first, this lane's
  const SeeingQueries seeing(bounds, warp_key, 16 * M);
  const int shift = dropped_shift(key % 32);
  const ScoreScale scale(shape.scale);
  const float kept = shape.dropout.on ? shape.dropout.scale : 1.0f;
  float key_sums[M][D / 8][4] = {}, value_sums[M][D / 8][4] = {};

  for (int turn = 0; turn < turns; ++turn) {
    const int stage = turn % 2, begin = first;
    port::cp_async_wait<0>();
    port::sync_block();  // these queries are there, and those before have been used
    first += tile_queries;
    if (first >= walk.end()) {
      first = walk.begin();
      ++head;
    }
    if (turn + 1 < turns) load(head, first, stage ^ 1);
    port::cp_async_commit();
#pragma unroll 1
    for (int at = 0; at < tile_queries; at += mma_query_step) {
      const int query = begin + at;
      if (seeing.none(query, mma_query_step)) continue;
      const bf16 *queries = stages + stage * tile_elements<D>(2 * tile_queries) + tile_elements<D>(at),
                 *upstream = queries + tile_elements<D>(tile_queries);
      float weights[M][N][4];
      multiply_rows<D>(mine_keys, queries, weights);
      scale(weights);
      if (!seeing.all(query, mma_query_step)) hide_unseeing_queries(bounds, query, key, weights);
      const int column = at + lane % 4 * 2;  // of this lane's first query
      const QueryNumbers* numbers = all_numbers + stage * tile_queries + column;
#pragma unroll
      for (int n = 0; n < N; ++n)
#pragma unroll
        for (int r = 0; r < 4; ++r)
#pragma unroll
          for (int m = 0; m < M; ++m)
            weights[m][n][r] =
                port::exp2_fast(weights[m][n][r] * scale.factor + numbers[8 * n + r % 2].log_sum);
      const uint32_t* dropped =
          all_dropped + (stage * groups + (warp_key - tile) / 32) * tile_queries + column;
      // Beside the sums of 32 keys there are registers for half of the gradients at a time.
      constexpr int part = M > 1 ? N / 2 : N;
      uint32_t packed_weights[M][N][2], packed_grads[M][N][2];
#pragma unroll
      for (int begin_n = 0; begin_n < N; begin_n += part) {
        float grads[M][part][4];
        multiply_rows<D>(mine_values, upstream + tile_elements<D>(8 * begin_n), grads);
#pragma unroll
        for (int i = 0; i < part; ++i) {
          const int n = begin_n + i;
          uint32_t bits[2];
          float delta[2];
#pragma unroll
          for (int e = 0; e < 2; ++e) {
            delta[e] = numbers[8 * n + e].delta;
            bits[e] = shape.dropout.on ? dropped[8 * n + e] >> shift : 0;
          }
#pragma unroll
          for (int m = 0; m < M; ++m)
#pragma unroll
            for (int h = 0; h < 2; ++h) {
              float kept_weights[2], key_grads[2];
#pragma unroll
              for (int e = 0; e < 2; ++e) {
                const float weight = weights[m][n][2 * h + e];
                const bool drop = (bits[e] & 1u << (2 * m + h)) != 0;
                key_grads[e] = weight * ((drop ? 0.0f : grads[m][i][2 * h + e]) * kept + delta[e]);
                kept_weights[e] = drop ? 0.0f : weight;
              }
              packed_weights[m][n][h] = pack_pair(kept_weights[0], kept_weights[1]);
              packed_grads[m][n][h] = pack_pair(key_grads[0], key_grads[1]);
            }
        }
      }
      add_weighted_rows<D>(packed_weights, upstream, value_sums);
      add_weighted_rows<D>(packed_grads, queries, key_sums);
    }
  }
  port::cp_async_wait<0>();
  port::sync_block();  // where nothing was walked, keys and values may still have been on their way
  float key_factors[M][2], value_factors[M][2];
#pragma unroll
  for (int m = 0; m < M; ++m)
#pragma unroll
    for (int h = 0; h < 2; ++h) {
      key_factors[m][h] = shape.scale;
      value_factors[m][h] = kept;
    }
  store_sums<D>(key_sums, key_factors, mine_keys, of_keys(dk), warp_key, NeighboursARow<M>());
  store_sums<D>(value_sums, value_factors, mine_values, of_keys(dv), warp_key, NeighboursARow<M>());
}

/// The bits of dropout's decisions grow with the square of the length: of more than this, some heads are
/// worked on at a time.
inline constexpr std::int64_t most_dropped_bytes = std::int64_t{256} << 20;

inline void attention_backward_on_tensor_cores(Context& context, MatrixView<const bfloat16> dy,
                                               MatrixView<const bfloat16> q, MatrixView<const bfloat16> k,
                                               MatrixView<const bfloat16> v, MatrixView<const bfloat16> y,
                                               MatrixView<const float> lse, const AttentionOptions& options,
                                               MatrixView<bfloat16> dq, MatrixView<bfloat16> dk,
                                               MatrixView<bfloat16> dv,
                                               std::int64_t dropped_bytes = most_dropped_bytes) {
  const AttentionShape shape(options);
  const SegmentsView &queries = options.query_segments, &keys = options.key_segments;
  const std::int64_t group = options.heads / options.kv_heads;
  // Of as many keys as blocks of them have: 32 in a word, 64 or 128 in a block.
  const std::int64_t key_groups = shape.dropout.on ? 4 * ceil_div(keys.max_length, 128) : 0;
  const std::int64_t words = key_groups * q.rows;  // of one head
  const std::int64_t most = dropped_bytes / (4 * std::max<std::int64_t>(words * group, 1));
  const std::int64_t chunk = std::clamp<std::int64_t>(most, 1, options.kv_heads);  // of key heads
  const Workspace<QueryNumbers> numbers(context, static_cast<std::size_t>(q.rows * chunk * group));
  const Workspace<std::uint32_t> dropped(context, static_cast<std::size_t>(words * chunk * group));
  for_mma_columns(options.head_size, [&](auto columns) {
    constexpr int D = columns.value, M = mma_backward_m<D>;
    for (std::int64_t first = 0; first < options.kv_heads; first += chunk) {
      const std::int64_t count = std::min(chunk, options.kv_heads - first);
      const BackwardNotes notes{numbers.data(),
                                {dropped.data(), q.rows, static_cast<int>(key_groups)},
                                static_cast<int>(first * group)};
      if (q.rows > 0) {
        const auto kernel = attention_mma_backward_queries<D>;
        const BlockOrder order(count * group, queries.count);
        const dim3 grid = order.grid(queries.max_length, mma_rows<M>, keys.max_length * walked_bytes<D>);
        const auto config = attention_config(context, kernel, grid, mma_threads,
                                             tile_bytes<D>(2 * mma_rows<M> + 4 * mma_keys<D>));
        check(ATTUNE_LAUNCH(config, kernel, order, rows_of(dy), rows_of(q), rows_of(k), rows_of(v),
                            rows_of(y), rows_of(lse), notes, shape, rows_of(dq)),
              "attention_backward");
      }
      if (k.rows > 0) {
        const auto kernel = attention_mma_backward_keys<D>;
        const BlockOrder order(count, keys.count);
        const dim3 grid =
            order.grid(keys.max_length, mma_rows<M>, group * queries.max_length * walked_bytes<D>);
        constexpr std::size_t walked = sizeof(QueryNumbers) + mma_rows<M> / 32 * sizeof(std::uint32_t);
        const auto config = attention_config(
            context, kernel, grid, mma_threads,
            tile_bytes<D>(2 * mma_rows<M> + 4 * mma_queries<D>) + 2 * mma_queries<D> * walked);
        check(ATTUNE_LAUNCH(config, kernel, order, rows_of(dy), rows_of(q), rows_of(k), rows_of(v), notes,
                            shape, rows_of(dk), rows_of(dv)),
              "attention_backward");
      }
    }
  });
}

}  // namespace attune::cuda
