#pragma once

#include <type_traits>

#include <attune/backend/cuda/kernels/attention_parts.cuh>

// Attention that keeps no matrix of weights (Dao et al., "FlashAttention", arXiv:2205.14135), in float
// arithmetic for both scalar types. The backward of queries and that of keys and values are kernels of their
// own, so that each sum has one owner and one order. See SequenceOps in backend.hpp.

namespace attune::cuda {

/// Grid: (tiles of queries of the longest sequence, heads, sequences).
template <class S, int Columns>
__global__ void __launch_bounds__(attention_threads)
    attention_forward(Rows<const S> q, Rows<const S> k, Rows<const S> v, AttentionShape shape, Rows<S> y,
                      Rows<float> lse) {
  ATTUNE_DYNAMIC_SHARED(float, shared);
  const int size = shape.head_size, stride = padded_stride(size), lane = static_cast<int>(threadIdx.x % 32);
  float *queries = shared, *keys = queries + owned_rows * size, *values = keys + walked_rows * stride,
        *weights = warp_weights(values + walked_rows * stride);
  const int head = static_cast<int>(blockIdx.y), kv_head = head / (shape.heads / shape.kv_heads);
  const SequenceRows rows(shape);
  const int64_t query_begin = rows.query_begin, query_count = rows.query_count;
  const int64_t key_begin = rows.key_begin, key_count = rows.key_count;
  const int64_t tile = int64_t{blockIdx.x} * owned_rows;
  if (tile >= query_count) return;  // the whole block
  load_tile<owned_rows>(queries, size, q, query_begin + tile, query_begin + query_count, int64_t{head} * size,
                        size);

  const int64_t mine =
      tile + static_cast<int64_t>(threadIdx.x / 32) * rows_per_warp;  // this warp's first query
  float largest[rows_per_warp], total[rows_per_warp], sums[rows_per_warp][Columns] = {};
#pragma unroll
  for (int r = 0; r < rows_per_warp; ++r) {
    largest[r] = -INFINITY;
    total[r] = 0.0f;
  }
  const int64_t last_query = (tile + owned_rows < query_count ? tile + owned_rows : query_count) - 1;
  const int64_t end = shape.last_key(last_query, key_count);
  for (int64_t first = shape.first_key(tile, key_count); first < end; first += walked_rows) {
    port::sync_block();  // the last tiles have been read
    load_tile<walked_rows>(keys, stride, k, key_begin + first, key_begin + key_count, int64_t{kv_head} * size,
                           size);
    load_tile<walked_rows>(values, stride, v, key_begin + first, key_begin + key_count,
                           int64_t{kv_head} * size, size);
    port::sync_block();
    float scores[rows_per_warp];
    dot_rows(queries, keys, stride, size, scores);
    const int64_t key = first + lane;
    for (int r = 0; r < rows_per_warp; ++r) {
      const int64_t query = mine + r;
      const bool seen = query < query_count && key >= shape.first_key(query, key_count) &&
                        key < shape.last_key(query, key_count);
      const float score = seen ? scores[r] * shape.scale : -INFINITY;
      const float new_largest = fmaxf(largest[r], warp_max(score));
      // Where nothing has been seen yet there is nothing to correct, and -inf - -inf is no number.
      const float correction = new_largest == -INFINITY ? 1.0f : expf(largest[r] - new_largest);
      const float weight = seen ? expf(score - new_largest) : 0.0f;
      total[r] = total[r] * correction + warp_sum(weight);
      largest[r] = new_largest;
#pragma unroll
      for (float& sum : sums[r]) sum *= correction;
      weights[r * walked_rows + lane] =
          seen ? weight * shape.factor(query_begin + query, key_begin + key, head) : 0.0f;
    }
    port::sync_warp();
    add_weighted(weights, values, stride, size, sums);
  }
  for (int r = 0; r < rows_per_warp; ++r) {
    const int64_t row = query_begin + mine + r;
    if (mine + r >= query_count) break;
    const bool empty = largest[r] == -INFINITY;  // or all scores are NaN, and so is the sum
#pragma unroll
    for (int i = 0; i < Columns; ++i)
      if (lane + 32 * i < size)
        y.row(row)[int64_t{head} * size + lane + 32 * i] =
            from_float<S>(empty ? 0.0f * sums[r][i] : sums[r][i] / total[r]);
    if (lane == 0) lse.row(row)[head] = largest[r] + logf(total[r]);
  }
}

/// dq_i = scale sum_j P_ij (m_ij dy_i . v_j - delta_i) k_j, m the dropout's factors. delta_i = sum_j P_ij
/// m_ij dy_i . v_j is stored for the keys' backward; it is summed here in a walk of its own and not taken as
/// dy_i . y_i, as y is rounded. Grid as in the forward.
template <class S, int Columns>
__global__ void __launch_bounds__(attention_threads)
    attention_backward_queries(Rows<const S> dy, Rows<const S> q, Rows<const S> k, Rows<const S> v,
                               Rows<const float> lse, float* delta, AttentionShape shape, Rows<S> dq) {
  ATTUNE_DYNAMIC_SHARED(float, shared);
  const int size = shape.head_size, stride = padded_stride(size), lane = static_cast<int>(threadIdx.x % 32);
  float *queries = shared, *upstream = queries + owned_rows * size, *keys = upstream + owned_rows * size,
        *values = keys + walked_rows * stride, *weights = warp_weights(values + walked_rows * stride);
  const int head = static_cast<int>(blockIdx.y), kv_head = head / (shape.heads / shape.kv_heads);
  const SequenceRows rows(shape);
  const int64_t query_begin = rows.query_begin, query_count = rows.query_count;
  const int64_t key_begin = rows.key_begin, key_count = rows.key_count;
  const int64_t tile = int64_t{blockIdx.x} * owned_rows;
  if (tile >= query_count) return;  // the whole block
  load_tile<owned_rows>(queries, size, q, query_begin + tile, query_begin + query_count, int64_t{head} * size,
                        size);
  load_tile<owned_rows>(upstream, size, dy, query_begin + tile, query_begin + query_count,
                        int64_t{head} * size, size);

  const int64_t mine = tile + static_cast<int64_t>(threadIdx.x / 32) * rows_per_warp;
  float sums[rows_per_warp][Columns] = {}, dots[rows_per_warp] = {};
  const int64_t last_query = (tile + owned_rows < query_count ? tile + owned_rows : query_count) - 1;
  const int64_t begin = shape.first_key(tile, key_count), end = shape.last_key(last_query, key_count);
  for (int walk = 0; walk < 2; ++walk) {
    for (int64_t first = begin; first < end; first += walked_rows) {
      port::sync_block();  // the last tiles have been read
      load_tile<walked_rows>(keys, stride, k, key_begin + first, key_begin + key_count,
                             int64_t{kv_head} * size, size);
      load_tile<walked_rows>(values, stride, v, key_begin + first, key_begin + key_count,
                             int64_t{kv_head} * size, size);
      port::sync_block();
      float scores[rows_per_warp], grads[rows_per_warp];
      dot_rows(queries, keys, stride, size, scores);
      dot_rows(upstream, values, stride, size, grads);
      const int64_t key = first + lane;
      for (int r = 0; r < rows_per_warp; ++r) {
        const int64_t query = mine + r, row = query_begin + query;
        const bool seen = query < query_count && key >= shape.first_key(query, key_count) &&
                          key < shape.last_key(query, key_count);
        const float p = seen ? expf(scores[r] * shape.scale - lse.row(row)[head]) : 0.0f;
        const float grad = seen ? grads[r] * shape.factor(row, key_begin + key, head) : 0.0f;
        if (walk == 0)
          dots[r] += p * grad;
        else
          weights[r * walked_rows + lane] = p * (grad - dots[r]) * shape.scale;
      }
      if (walk == 0) continue;
      port::sync_warp();
      add_weighted(weights, keys, stride, size, sums);
    }
    if (walk == 0)
      for (float& dot : dots) dot = warp_sum(dot);
  }
  for (int r = 0; r < rows_per_warp; ++r) {
    if (mine + r >= query_count) break;
    if (lane == 0) delta[(query_begin + mine + r) * shape.heads + head] = dots[r];
#pragma unroll
    for (int i = 0; i < Columns; ++i)
      if (lane + 32 * i < size)
        dq.row(query_begin + mine + r)[int64_t{head} * size + lane + 32 * i] = from_float<S>(sums[r][i]);
  }
}

/// dv_j = sum_i P_ij m_ij dy_i and dk_j = scale sum_i P_ij (m_ij dy_i . v_j - delta_i) q_i, over the queries
/// of all heads that share the key's. Grid: (tiles of keys of the longest sequence, key heads, sequences).
template <class S, int Columns>
__global__ void __launch_bounds__(attention_threads)
    attention_backward_keys(Rows<const S> dy, Rows<const S> q, Rows<const S> k, Rows<const S> v,
                            Rows<const float> lse, const float* delta, AttentionShape shape, Rows<S> dk,
                            Rows<S> dv) {
  ATTUNE_DYNAMIC_SHARED(float, shared);
  const int size = shape.head_size, stride = padded_stride(size), lane = static_cast<int>(threadIdx.x % 32);
  float *keys = shared, *values = keys + owned_rows * size, *queries = values + owned_rows * size,
        *upstream = queries + walked_rows * stride, *weights = warp_weights(upstream + walked_rows * stride);
  const int kv_head = static_cast<int>(blockIdx.y), group = shape.heads / shape.kv_heads;
  const SequenceRows rows(shape);
  const int64_t query_begin = rows.query_begin, query_count = rows.query_count;
  const int64_t key_begin = rows.key_begin, key_count = rows.key_count;
  const int64_t tile = int64_t{blockIdx.x} * owned_rows;
  if (tile >= key_count) return;  // the whole block
  const int64_t column = int64_t{kv_head} * size;
  load_tile<owned_rows>(keys, size, k, key_begin + tile, key_begin + key_count, column, size);
  load_tile<owned_rows>(values, size, v, key_begin + tile, key_begin + key_count, column, size);

  const int64_t mine =
      tile + static_cast<int64_t>(threadIdx.x / 32) * rows_per_warp;  // this warp's first key
  float key_sums[rows_per_warp][Columns] = {}, value_sums[rows_per_warp][Columns] = {};
  // The queries that may see one of the tile's keys.
  int64_t begin = shape.causal ? tile - shape.query_offset : 0, end = query_count;
  if (begin < 0) begin = 0;
  if (shape.window > 0 && tile + owned_rows - 1 + shape.window - shape.query_offset < end)
    end = tile + owned_rows - 1 + shape.window - shape.query_offset;
  for (int head = kv_head * group; head < (kv_head + 1) * group; ++head)
    for (int64_t first = begin; first < end; first += walked_rows) {
      port::sync_block();  // the last tiles have been read
      load_tile<walked_rows>(queries, stride, q, query_begin + first, query_begin + query_count,
                             int64_t{head} * size, size);
      load_tile<walked_rows>(upstream, stride, dy, query_begin + first, query_begin + query_count,
                             int64_t{head} * size, size);
      port::sync_block();
      float scores[rows_per_warp], grads[rows_per_warp];
      dot_rows(keys, queries, stride, size, scores);
      dot_rows(values, upstream, stride, size, grads);
      const int64_t query = first + lane, row = query_begin + query;
      const bool present = query < query_count;
      const int64_t first_key = present ? shape.first_key(query, key_count) : 0;
      const int64_t last_key = present ? shape.last_key(query, key_count) : 0;
      const float log_sum = present ? lse.row(row)[head] : 0.0f;
      const float dot = present ? delta[row * shape.heads + head] : 0.0f;
      float key_weights[rows_per_warp];
      for (int r = 0; r < rows_per_warp; ++r) {
        const int64_t key = mine + r;
        float value_weight = 0.0f, key_weight = 0.0f;
        if (key >= first_key && key < last_key) {
          const float p = expf(scores[r] * shape.scale - log_sum);
          const float factor = shape.factor(row, key_begin + key, head);
          value_weight = p * factor;
          key_weight = p * (grads[r] * factor - dot) * shape.scale;
        }
        weights[r * walked_rows + lane] = value_weight;
        key_weights[r] = key_weight;
      }
      port::sync_warp();
      add_weighted(weights, upstream, stride, size, value_sums);
      port::sync_warp();  // one place for both: with two, heads of 256 columns need more than 99 KiB
      for (int r = 0; r < rows_per_warp; ++r) weights[r * walked_rows + lane] = key_weights[r];
      port::sync_warp();
      add_weighted(weights, queries, stride, size, key_sums);
    }
  for (int r = 0; r < rows_per_warp; ++r) {
    if (mine + r >= key_count) break;
    const int64_t row = key_begin + mine + r;
#pragma unroll
    for (int i = 0; i < Columns; ++i) {
      if (lane + 32 * i >= size) break;
      dk.row(row)[column + lane + 32 * i] = from_float<S>(key_sums[r][i]);
      dv.row(row)[column + lane + 32 * i] = from_float<S>(value_sums[r][i]);
    }
  }
}

/// Calls f with the number of columns a lane owns as an integral constant.
template <class F>
void for_head_size(std::int64_t head_size, const F& f) {
  if (head_size <= 64)
    f(std::integral_constant<int, 2>());
  else if (head_size <= 128)
    f(std::integral_constant<int, 4>());
  else if (head_size <= 256)
    f(std::integral_constant<int, 8>());
  else
    throw DeviceError("cuda: attention: heads of at most 256 columns are supported, found " +
                      std::to_string(head_size));
}

inline dim3 attention_grid(std::int32_t longest, std::int64_t heads, std::int64_t sequences) {
  return dim3(static_cast<unsigned>(ceil_div(longest, owned_rows)), static_cast<unsigned>(heads),
              static_cast<unsigned>(sequences));
}

template <class T>
void attention_in_float(Context& context, MatrixView<const T> q, MatrixView<const T> k, MatrixView<const T> v,
                        const AttentionOptions& options, MatrixView<T> y, MatrixView<float> lse) {
  for_head_size(options.head_size, [&](auto columns) {
    const auto kernel = attention_forward<Scalar<T>, columns.value>;
    const dim3 grid =
        attention_grid(options.query_segments.max_length, options.heads, options.query_segments.count);
    const auto config = attention_config(context, kernel, grid, attention_threads,
                                         attention_shared_bytes(options.head_size, 1, 2, 1));
    check(ATTUNE_LAUNCH(config, kernel, rows_of(q), rows_of(k), rows_of(v), AttentionShape(options),
                        rows_of(y), rows_of(lse)),
          "attention");
  });
}

template <class T>
void attention_backward_in_float(Context& context, MatrixView<const T> dy, MatrixView<const T> q,
                                 MatrixView<const T> k, MatrixView<const T> v, MatrixView<const float> lse,
                                 const AttentionOptions& options, MatrixView<T> dq, MatrixView<T> dk,
                                 MatrixView<T> dv) {
  const Workspace<float> delta(context, static_cast<std::size_t>(q.rows * options.heads));
  const AttentionShape shape(options);
  for_head_size(options.head_size, [&](auto columns) {
    if (q.rows > 0) {
      const auto kernel = attention_backward_queries<Scalar<T>, columns.value>;
      const dim3 grid =
          attention_grid(options.query_segments.max_length, options.heads, options.query_segments.count);
      const auto config = attention_config(context, kernel, grid, attention_threads,
                                           attention_shared_bytes(options.head_size, 2, 2, 1));
      check(ATTUNE_LAUNCH(config, kernel, rows_of(dy), rows_of(q), rows_of(k), rows_of(v), rows_of(lse),
                          delta.data(), shape, rows_of(dq)),
            "attention_backward");
    }
    if (k.rows > 0) {
      const auto kernel = attention_backward_keys<Scalar<T>, columns.value>;
      const dim3 grid =
          attention_grid(options.key_segments.max_length, options.kv_heads, options.key_segments.count);
      const auto config = attention_config(context, kernel, grid, attention_threads,
                                           attention_shared_bytes(options.head_size, 2, 2, 1));
      check(ATTUNE_LAUNCH(config, kernel, rows_of(dy), rows_of(q), rows_of(k), rows_of(v), rows_of(lse),
                          delta.data(), shape, rows_of(dk), rows_of(dv)),
            "attention_backward");
    }
  });
}

}  // namespace attune::cuda
