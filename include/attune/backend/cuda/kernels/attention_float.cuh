#pragma once

#include <attune/backend/cuda/kernels/attention_parts.cuh>

// Attention that keeps no matrix of weights (Dao et al., "FlashAttention", arXiv:2205.14135), in float
// arithmetic for both scalar types. The backward of queries and that of keys and values are kernels of their
// own, so that each sum has one owner and one order. See SequenceOps in backend.hpp.

namespace attune::cuda {

/// Grid: (tiles of queries of the longest sequence, heads, sequences).
template <class S, class Tiles>
__global__ void __launch_bounds__(attention_threads, attention_blocks)
    attention_forward(Rows<const S> q, Rows<const S> k, Rows<const S> v, AttentionShape shape, Rows<S> y,
                      Rows<float> lse) {
  ATTUNE_DYNAMIC_SHARED(float, shared);
  const int size = shape.head_size, stride = padded_stride(size), x = thread_x();
  float *queries = shared, *keys = queries + Tiles::owned * stride, *values = keys + Tiles::walked * stride,
        *weights = values + Tiles::walked * stride;
  auto* kept = reinterpret_cast<uint8_t*>(weights + Tiles::owned * Tiles::weight_stride);
  const int head = static_cast<int>(blockIdx.y), kv_head = head / (shape.heads / shape.kv_heads);
  const SequenceRows rows(shape);
  const int64_t query_end = rows.query_begin + rows.query_count, key_end = rows.key_begin + rows.key_count;
  const int tile = static_cast<int>(blockIdx.x) * Tiles::owned;
  if (tile >= rows.query_count) return;  // the whole block
  load_tile<Tiles::owned>(queries, stride, q, rows.query_begin + tile, query_end, int64_t{head} * size, size);

  const int mine = thread_y() * Tiles::mine;  // this thread's first query of the tile
  float largest[Tiles::mine], total[Tiles::mine], sums[Tiles::mine][Tiles::columns] = {};
#pragma unroll
  for (int r = 0; r < Tiles::mine; ++r) {
    largest[r] = -INFINITY;
    total[r] = 0.0f;
  }
  const KeyRange walk(shape, rows, tile, Tiles::owned);
  for (int first = walk.begin; first < walk.end; first += Tiles::walked) {
    port::sync_block();  // the last tiles have been read
    load_tile<Tiles::walked>(keys, stride, k, rows.key_begin + first, key_end, int64_t{kv_head} * size, size);
    load_tile<Tiles::walked>(values, stride, v, rows.key_begin + first, key_end, int64_t{kv_head} * size,
                             size);
    if (shape.dropout.on)
      draw_kept<Tiles::owned, Tiles::walked>(kept, shape, rows.query_begin + tile, query_end,
                                             rows.key_begin + first, key_end, head);
    port::sync_block();
    float scores[Tiles::mine][Tiles::theirs];
    dot_rows<Tiles>(queries, keys, stride, size, scores);
#pragma unroll
    for (int r = 0; r < Tiles::mine; ++r) {
      const VisibleKeys seen(shape, rows, tile + mine + r, first);
      float new_largest = largest[r];
#pragma unroll
      for (int c = 0; c < Tiles::theirs; ++c) {
        scores[r][c] = seen(x + c * attention_side) ? scores[r][c] * shape.scale : -INFINITY;
        new_largest = fmaxf(new_largest, scores[r][c]);
      }
      new_largest = side_max(new_largest);
      // Where nothing has been seen yet there is nothing to correct, and -inf - -inf is no number.
      const float correction = new_largest == -INFINITY ? 1.0f : expf(largest[r] - new_largest);
      float sum = 0.0f;
#pragma unroll
      for (int c = 0; c < Tiles::theirs; ++c) {
        const int key = x + c * attention_side;
        const float weight = seen(key) ? expf(scores[r][c] - new_largest) : 0.0f;
        sum += weight;
        weights[(mine + r) * Tiles::weight_stride + key] =
            weight * kept_factor<Tiles::walked>(kept, shape, mine + r, key);
      }
      total[r] = total[r] * correction + side_sum(sum);
      largest[r] = new_largest;
#pragma unroll
      for (float& part : sums[r]) part *= correction;
    }
    port::sync_warp();
    add_weighted<Tiles>(weights, values, stride, size, sums);
  }
#pragma unroll
  for (int r = 0; r < Tiles::mine; ++r) {
    const int64_t row = rows.query_begin + tile + mine + r;
    if (row >= query_end) break;
    const bool empty = largest[r] == -INFINITY;  // or all scores are NaN, and so is the sum
    store_columns<Tiles>(y.row(row) + int64_t{head} * size, size, sums[r], empty ? 0.0f : 1.0f / total[r]);
    if (x == 0) lse.row(row)[head] = largest[r] + logf(total[r]);
  }
}

/// dq_i = scale sum_j P_ij (m_ij dy_i . v_j - delta_i) k_j, m the dropout's factors. delta_i = sum_j P_ij
/// m_ij dy_i . v_j = dy_i . y_i is stored for the keys' backward. Grid as in the forward.
template <class S, class Tiles>
__global__ void __launch_bounds__(attention_threads, attention_blocks)
    attention_backward_queries(Rows<const S> dy, Rows<const S> q, Rows<const S> k, Rows<const S> v,
                               Rows<const S> y, Rows<const float> lse, float* delta, AttentionShape shape,
                               Rows<S> dq) {
  ATTUNE_DYNAMIC_SHARED(float, shared);
  const int size = shape.head_size, stride = padded_stride(size), x = thread_x();
  float *queries = shared, *upstream = queries + Tiles::owned * stride,
        *keys = upstream + Tiles::owned * stride, *values = keys + Tiles::walked * stride,
        *weights = values + Tiles::walked * stride;
  auto* kept = reinterpret_cast<uint8_t*>(weights + Tiles::owned * Tiles::weight_stride);
  const int head = static_cast<int>(blockIdx.y), kv_head = head / (shape.heads / shape.kv_heads);
  const SequenceRows rows(shape);
  const int64_t query_end = rows.query_begin + rows.query_count, key_end = rows.key_begin + rows.key_count;
  const int tile = static_cast<int>(blockIdx.x) * Tiles::owned;
  const int64_t column = int64_t{head} * size;
  if (tile >= rows.query_count) return;  // the whole block
  load_tile<Tiles::owned>(queries, stride, q, rows.query_begin + tile, query_end, column, size);
  load_tile<Tiles::owned>(upstream, stride, dy, rows.query_begin + tile, query_end, column, size);
  port::sync_block();

  const int mine = thread_y() * Tiles::mine;
  float sums[Tiles::mine][Tiles::columns] = {};
#pragma unroll
  for (int r = 0; r < Tiles::mine; ++r) {
    const int64_t row = rows.query_begin + tile + mine + r;
    float dot = 0.0f;
    if (row < query_end)
      for (int d = x; d < size; d += attention_side)
        dot += upstream[(mine + r) * stride + d] * to_float(y.row(row)[column + d]);
    dot = side_sum(dot);
    if (x == 0) weights[(mine + r) * Tiles::weight_stride + Tiles::walked] = dot;  // behind the row's weights
    if (x == 0 && row < query_end) delta[row * shape.heads + head] = dot;
  }
  const KeyRange walk(shape, rows, tile, Tiles::owned);
  for (int first = walk.begin; first < walk.end; first += Tiles::walked) {
    port::sync_block();  // the last tiles have been read
    load_tile<Tiles::walked>(keys, stride, k, rows.key_begin + first, key_end, int64_t{kv_head} * size, size);
    load_tile<Tiles::walked>(values, stride, v, rows.key_begin + first, key_end, int64_t{kv_head} * size,
                             size);
    if (shape.dropout.on)
      draw_kept<Tiles::owned, Tiles::walked>(kept, shape, rows.query_begin + tile, query_end,
                                             rows.key_begin + first, key_end, head);
    port::sync_block();
    float scores[Tiles::mine][Tiles::theirs], grads[Tiles::mine][Tiles::theirs];
    dot_rows<Tiles>(queries, keys, stride, size, scores);
    dot_rows<Tiles>(upstream, values, stride, size, grads);
#pragma unroll
    for (int r = 0; r < Tiles::mine; ++r) {
      const VisibleKeys seen(shape, rows, tile + mine + r, first);
      const int64_t row = rows.query_begin + tile + mine + r;
      const float log_sum = row < query_end ? lse.row(row)[head] : 0.0f;
      const float dot = weights[(mine + r) * Tiles::weight_stride + Tiles::walked];
#pragma unroll
      for (int c = 0; c < Tiles::theirs; ++c) {
        const int key = x + c * attention_side;
        const float p = seen(key) ? expf(scores[r][c] * shape.scale - log_sum) : 0.0f;
        const float grad = grads[r][c] * kept_factor<Tiles::walked>(kept, shape, mine + r, key);
        weights[(mine + r) * Tiles::weight_stride + key] = seen(key) ? p * (grad - dot) : 0.0f;
      }
    }
    port::sync_warp();
    add_weighted<Tiles>(weights, keys, stride, size, sums);
  }
#pragma unroll
  for (int r = 0; r < Tiles::mine; ++r) {
    const int64_t row = rows.query_begin + tile + mine + r;
    if (row < query_end) store_columns<Tiles>(dq.row(row) + column, size, sums[r], shape.scale);
  }
}

/// dv_j = sum_i P_ij m_ij dy_i and dk_j = scale sum_i P_ij (m_ij dy_i . v_j - delta_i) q_i, over the queries
/// of all heads that share the key's. Grid: (tiles of keys of the longest sequence, key heads, sequences).
template <class S, class Tiles>
__global__ void __launch_bounds__(attention_threads, attention_blocks)
    attention_backward_keys(Rows<const S> dy, Rows<const S> q, Rows<const S> k, Rows<const S> v,
                            Rows<const float> lse, const float* delta, AttentionShape shape, Rows<S> dk,
                            Rows<S> dv) {
  ATTUNE_DYNAMIC_SHARED(float, shared);
  const int size = shape.head_size, stride = padded_stride(size), x = thread_x();
  float *keys = shared, *values = keys + Tiles::owned * stride, *queries = values + Tiles::owned * stride,
        *upstream = queries + Tiles::walked * stride, *weights = upstream + Tiles::walked * stride;
  auto* kept = reinterpret_cast<uint8_t*>(weights + Tiles::owned * Tiles::weight_stride);
  const int kv_head = static_cast<int>(blockIdx.y), group = shape.heads / shape.kv_heads;
  const SequenceRows rows(shape);
  const int64_t query_end = rows.query_begin + rows.query_count, key_end = rows.key_begin + rows.key_count;
  const int tile = static_cast<int>(blockIdx.x) * Tiles::owned;
  const int64_t column = int64_t{kv_head} * size;
  if (tile >= rows.key_count) return;  // the whole block
  load_tile<Tiles::owned>(keys, stride, k, rows.key_begin + tile, key_end, column, size);
  load_tile<Tiles::owned>(values, stride, v, rows.key_begin + tile, key_end, column, size);

  const int mine = thread_y() * Tiles::mine;  // this thread's first key of the tile
  float key_sums[Tiles::mine][Tiles::columns] = {}, value_sums[Tiles::mine][Tiles::columns] = {};
  // The queries that may see one of the tile's keys.
  int64_t begin = shape.causal ? tile - shape.query_offset : 0, end = rows.query_count;
  if (begin < 0) begin = 0;
  if (shape.window > 0 && tile + Tiles::owned - 1 + shape.window - shape.query_offset < end)
    end = tile + Tiles::owned - 1 + shape.window - shape.query_offset;
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head)
    for (int64_t first = begin; first < end; first += Tiles::walked) {
      port::sync_block();  // the last tiles have been read
      load_tile<Tiles::walked>(queries, stride, q, rows.query_begin + first, query_end, int64_t{head} * size,
                               size);
      load_tile<Tiles::walked>(upstream, stride, dy, rows.query_begin + first, query_end,
                               int64_t{head} * size, size);
      if (shape.dropout.on)
        draw_kept<Tiles::walked, Tiles::owned>(kept, shape, rows.query_begin + first, query_end,
                                               rows.key_begin + tile, key_end, head);
      port::sync_block();
      float scores[Tiles::mine][Tiles::theirs], grads[Tiles::mine][Tiles::theirs];
      dot_rows<Tiles>(keys, queries, stride, size, scores);
      dot_rows<Tiles>(values, upstream, stride, size, grads);
#pragma unroll
      for (int c = 0; c < Tiles::theirs; ++c) {
        const int query = x + c * attention_side;
        const int64_t row = rows.query_begin + first + query;
        const VisibleKeys seen(shape, rows, first + query, tile);
        const float log_sum = row < query_end ? lse.row(row)[head] : 0.0f;
        const float dot = row < query_end ? delta[row * shape.heads + head] : 0.0f;
#pragma unroll
        for (int r = 0; r < Tiles::mine; ++r) {
          const bool visible = seen(mine + r);
          const float p = visible ? expf(scores[r][c] * shape.scale - log_sum) : 0.0f;
          const float factor = kept_factor<Tiles::owned>(kept, shape, query, mine + r);
          weights[(mine + r) * Tiles::weight_stride + query] = p * factor;
          scores[r][c] = visible ? p * (grads[r][c] * factor - dot) : 0.0f;
        }
      }
      port::sync_warp();
      add_weighted<Tiles>(weights, upstream, stride, size, value_sums);
      port::sync_warp();  // one place for both
#pragma unroll
      for (int r = 0; r < Tiles::mine; ++r)
#pragma unroll
        for (int c = 0; c < Tiles::theirs; ++c)
          weights[(mine + r) * Tiles::weight_stride + x + c * attention_side] = scores[r][c];
      port::sync_warp();
      add_weighted<Tiles>(weights, queries, stride, size, key_sums);
    }
#pragma unroll
  for (int r = 0; r < Tiles::mine; ++r) {
    const int64_t row = rows.key_begin + tile + mine + r;
    if (row >= key_end) break;
    store_columns<Tiles>(dk.row(row) + column, size, key_sums[r], shape.scale);
    store_columns<Tiles>(dv.row(row) + column, size, value_sums[r], 1.0f);
  }
}

/// Calls f with the tiles of the forward and those of the backward, which have no more than 99 KiB of shared
/// memory.
template <class F>
void for_head_size(std::int64_t head_size, const F& f) {
  if (head_size <= 32)
    f(AttentionTiles<64, 64, 2, 1>(), AttentionTiles<64, 64, 2, 1>());
  else if (head_size <= 64)
    f(AttentionTiles<64, 64, 4, 1>(), AttentionTiles<64, 64, 4, 1>());
  else if (head_size <= 128)
    f(AttentionTiles<64, 32, 4, 2>(), AttentionTiles<32, 32, 4, 2>());
  else if (head_size <= 256)
    f(AttentionTiles<32, 16, 4, 4>(), AttentionTiles<16, 16, 4, 4>());
  else
    throw DeviceError("cuda: attention: heads of at most 256 columns are supported, found " +
                      std::to_string(head_size));
}

inline dim3 attention_grid(std::int32_t longest, int tile, std::int64_t heads, std::int64_t sequences) {
  return dim3(static_cast<unsigned>(ceil_div(longest, tile)), static_cast<unsigned>(heads),
              static_cast<unsigned>(sequences));
}

template <class T>
void attention_in_float(Context& context, MatrixView<const T> q, MatrixView<const T> k, MatrixView<const T> v,
                        const AttentionOptions& options, MatrixView<T> y, MatrixView<float> lse) {
  for_head_size(options.head_size, [&]<class Tiles>(Tiles, auto) {
    const auto kernel = attention_forward<Scalar<T>, Tiles>;
    const SegmentsView& segments = options.query_segments;
    const dim3 grid = attention_grid(segments.max_length, Tiles::owned, options.heads, segments.count);
    const auto config = attention_config(context, kernel, grid, attention_threads,
                                         attention_shared_bytes<Tiles>(options.head_size, 1, 2));
    check(ATTUNE_LAUNCH(config, kernel, rows_of(q), rows_of(k), rows_of(v), AttentionShape(options),
                        rows_of(y), rows_of(lse)),
          "attention");
  });
}

template <class T>
void attention_backward_in_float(Context& context, MatrixView<const T> dy, MatrixView<const T> q,
                                 MatrixView<const T> k, MatrixView<const T> v, MatrixView<const T> y,
                                 MatrixView<const float> lse, const AttentionOptions& options,
                                 MatrixView<T> dq, MatrixView<T> dk, MatrixView<T> dv) {
  const Workspace<float> delta(context, static_cast<std::size_t>(q.rows * options.heads));
  const AttentionShape shape(options);
  for_head_size(options.head_size, [&]<class Tiles>(auto, Tiles) {
    const std::size_t bytes = attention_shared_bytes<Tiles>(options.head_size, 2, 2);
    if (q.rows > 0) {
      const auto kernel = attention_backward_queries<Scalar<T>, Tiles>;
      const SegmentsView& segments = options.query_segments;
      const dim3 grid = attention_grid(segments.max_length, Tiles::owned, options.heads, segments.count);
      const auto config = attention_config(context, kernel, grid, attention_threads, bytes);
      check(ATTUNE_LAUNCH(config, kernel, rows_of(dy), rows_of(q), rows_of(k), rows_of(v), rows_of(y),
                          rows_of(lse), delta.data(), shape, rows_of(dq)),
            "attention_backward");
    }
    if (k.rows > 0) {
      const auto kernel = attention_backward_keys<Scalar<T>, Tiles>;
      const SegmentsView& segments = options.key_segments;
      const dim3 grid = attention_grid(segments.max_length, Tiles::owned, options.kv_heads, segments.count);
      const auto config = attention_config(context, kernel, grid, attention_threads, bytes);
      check(ATTUNE_LAUNCH(config, kernel, rows_of(dy), rows_of(q), rows_of(k), rows_of(v), rows_of(lse),
                          delta.data(), shape, rows_of(dk), rows_of(dv)),
            "attention_backward");
    }
  });
}

}  // namespace attune::cuda
