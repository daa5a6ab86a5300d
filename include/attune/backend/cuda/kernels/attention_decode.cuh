#pragma once

#include <type_traits>

#include <attune/backend/cuda/kernels/attention_shape.cuh>

// Attention of few queries over many keys, as in generation with a cache: the keys of a sequence are split
// among blocks, each of which serves all heads and queries that share them, so that every key and value is
// read once. What the blocks found is merged in the order of the keys. Float arithmetic.

namespace attune::cuda {

inline constexpr int decode_threads = 128;
inline constexpr int decode_keys = decode_threads;  ///< that a block looks at, a thread each
inline constexpr int decode_warps = decode_threads / 32;
inline constexpr int most_decode_rows = 8;  ///< queries of all heads that share a key

/// The columns in whole packs, as queries and partial sums are kept.
template <class S>
__device__ __host__ __forceinline__ int padded_columns(int head_size) {
  return (head_size + pack_size<S> - 1) / pack_size<S> * pack_size<S>;
}

/// What the blocks leave for the merge, for query row i, head h and chunk c of keys at (i heads + h) chunks +
/// c.
struct DecodePartials {
  float* sums;             ///< [Nq, heads, chunks, D]: of the values, by weights exp(score - largest)
  float *largest, *total;  ///< [Nq, heads, chunks]: score, and sum of the weights
  int chunks;

  __device__ __forceinline__ int64_t at(int64_t query_row, int heads, int head, int chunk) const {
    return (query_row * heads + head) * chunks + chunk;
  }
};

/// R: rows, which are queries and heads that share keys; row r is query r / group of head r % group.
/// Grid: (chunks of keys of the longest sequence, key heads, sequences).
template <class S, int R>
__global__ void __launch_bounds__(decode_threads)
    attention_decode(Rows<const S> q, Rows<const S> k, Rows<const S> v, AttentionShape shape,
                     DecodePartials partials) {
  ATTUNE_DYNAMIC_SHARED(float, shared);
  ATTUNE_SHARED(float, weights, R* decode_keys);
  ATTUNE_SHARED(float, warp_results, R* decode_warps);
  constexpr int pack = pack_size<S>;
  const SequenceRows rows(shape);
  const int64_t first = int64_t{blockIdx.x} * decode_keys;
  if (rows.query_count == 0 || first >= rows.key_count) return;  // the whole block
  const int thread = static_cast<int>(threadIdx.x), size = shape.head_size, columns = padded_columns<S>(size);
  const int kv_head = static_cast<int>(blockIdx.y), group = shape.heads / shape.kv_heads;
  const int present = static_cast<int>(rows.query_count) * group;
  const int64_t column = int64_t{kv_head} * size;
  const bool vectors = size % pack == 0;
  const auto query_of = [&](int r) { return rows.query_begin + r / group; };
  const auto head_of = [&](int r) { return kv_head * group + r % group; };

  for (int i = thread; i < R * columns; i += decode_threads) {
    const int r = i / columns, d = i - r * columns;
    const bool exists = r < present && d < size;
    shared[i] = exists ? to_float(q.row(query_of(r))[int64_t{head_of(r)} * size + d]) : 0.0f;
  }
  port::sync_block();

  // A thread a key: its scores with all rows.
  const int64_t key = first + thread;
  float scores[R] = {};
  if (key < rows.key_count) {
    const S* from = k.row(rows.key_begin + key) + column;
    for (int d = 0; d < columns; d += pack) {
      const Pack<S> values = load_pack(from + d, size - d, vectors && k.aligned);
#pragma unroll
      for (int r = 0; r < R; ++r)
#pragma unroll
        for (int e = 0; e < pack; ++e) scores[r] += shared[r * columns + d + e] * values.v[e];
    }
  }
  float largest[R];
#pragma unroll
  for (int r = 0; r < R; ++r) {
    const int64_t i = r / group;
    const bool seen =
        r < present && key >= shape.first_key(i, rows.key_count) && key < shape.last_key(i, rows.key_count);
    scores[r] = seen ? scores[r] * shape.scale : -INFINITY;
    largest[r] = warp_max(scores[r]);
    if (thread % 32 == 0) warp_results[r * decode_warps + thread / 32] = largest[r];
  }
  port::sync_block();
#pragma unroll
  for (int r = 0; r < R; ++r)
#pragma unroll
    for (int warp = 0; warp < decode_warps; ++warp)
      largest[r] = fmaxf(largest[r], warp_results[r * decode_warps + warp]);
  port::sync_block();  // warp_results is written again
#pragma unroll
  for (int r = 0; r < R; ++r) {
    const float weight = scores[r] == -INFINITY ? 0.0f : expf(scores[r] - largest[r]);
    weights[r * decode_keys + thread] = weight;
    const float total = warp_sum(weight);
    if (thread % 32 == 0) warp_results[r * decode_warps + thread / 32] = total;
  }
  port::sync_block();
  const int chunk = static_cast<int>(blockIdx.x);
#pragma unroll
  for (int r = 0; r < R; ++r)
    if (thread == r && r < present) {
      const int64_t at = partials.at(query_of(r), shape.heads, head_of(r), chunk);
      float total = 0.0f;
#pragma unroll
      for (int warp = 0; warp < decode_warps; ++warp) total += warp_results[r * decode_warps + warp];
      partials.largest[at] = largest[r];
      partials.total[at] = total;
    }

  // A thread a pack of columns, and every parts-th key.
  const int packs = columns / pack, parts = decode_threads / packs;
  const int part = thread / packs, mine = thread % packs * pack;
  float* sums = shared + R * columns;  // [parts][R][columns]
  const int64_t left = rows.key_count - first;
  const int keys = left < decode_keys ? static_cast<int>(left) : decode_keys;
  if (part < parts) {
    float sum[R][pack] = {};
    for (int j = part; j < keys; j += parts) {
      const Pack<S> values =
          load_pack(v.row(rows.key_begin + first + j) + column + mine, size - mine, vectors && v.aligned);
#pragma unroll
      for (int r = 0; r < R; ++r)
#pragma unroll
        for (int e = 0; e < pack; ++e) sum[r][e] += weights[r * decode_keys + j] * values.v[e];
    }
#pragma unroll
    for (int r = 0; r < R; ++r)
#pragma unroll
      for (int e = 0; e < pack; ++e) sums[(part * R + r) * columns + mine + e] = sum[r][e];
  }
  port::sync_block();
  for (int i = thread; i < present * columns; i += decode_threads) {
    const int r = i / columns, d = i - r * columns;
    if (d >= size) continue;
    float sum = 0.0f;
    for (int p = 0; p < parts; ++p) sum += sums[(p * R + r) * columns + d];
    partials.sums[partials.at(query_of(r), shape.heads, head_of(r), chunk) * size + d] = sum;
  }
}

/// Grid: (queries of the longest sequence, heads, sequences).
template <class S>
__global__ void __launch_bounds__(decode_threads)
    attention_decode_merge(DecodePartials partials, AttentionShape shape, Rows<S> y, Rows<float> lse) {
  const SequenceRows rows(shape);
  if (blockIdx.x >= rows.query_count) return;
  const int head = static_cast<int>(blockIdx.y), size = shape.head_size;
  const int64_t row = rows.query_begin + blockIdx.x, at = partials.at(row, shape.heads, head, 0);
  const int chunks = static_cast<int>((rows.key_count + decode_keys - 1) / decode_keys);
  float largest = -INFINITY, total = 0.0f;
  for (int chunk = 0; chunk < chunks; ++chunk) largest = fmaxf(largest, partials.largest[at + chunk]);
  const bool empty = largest == -INFINITY;
  const auto weight = [&](int chunk) { return empty ? 0.0f : expf(partials.largest[at + chunk] - largest); };
  for (int chunk = 0; chunk < chunks; ++chunk) total += partials.total[at + chunk] * weight(chunk);
  const float inverse = empty ? 0.0f : 1.0f / total;
  for (int d = static_cast<int>(threadIdx.x); d < size; d += decode_threads) {
    float sum = 0.0f;
    for (int chunk = 0; chunk < chunks; ++chunk)
      sum += partials.sums[(at + chunk) * size + d] * weight(chunk);
    y.row(row)[int64_t{head} * size + d] = from_float<S>(sum * inverse);
  }
  if (threadIdx.x == 0) lse.row(row)[head] = empty ? -INFINITY : largest + logf(total);
}

/// Whether queries are so few that splitting the keys pays.
inline bool is_decoding(const AttentionOptions& options) {
  const std::int64_t group = options.heads / options.kv_heads;
  return !options.dropout && options.head_size <= 256 &&
         options.query_segments.max_length * group <= most_decode_rows;
}

template <class T>
void decode_attention(Context& context, MatrixView<const T> q, MatrixView<const T> k, MatrixView<const T> v,
                      const AttentionOptions& options, MatrixView<T> y, MatrixView<float> lse) {
  using S = Scalar<T>;
  const AttentionShape shape(options);
  const int chunks = static_cast<int>(ceil_div(options.key_segments.max_length, decode_keys));
  const auto found = static_cast<std::size_t>(q.rows * options.heads * chunks);
  const Workspace<float> memory(context, found * (static_cast<std::size_t>(options.head_size) + 2));
  float* const stats = memory.data() + found * static_cast<std::size_t>(options.head_size);
  const DecodePartials partials{memory.data(), stats, stats + found, chunks};
  const auto sequences = static_cast<unsigned>(options.query_segments.count);
  const auto launch = [&](auto rows) {
    constexpr int R = rows.value;
    const auto columns = static_cast<std::size_t>(padded_columns<S>(shape.head_size));
    const std::size_t parts = decode_threads / (columns / pack_size<S>);
    const dim3 grid(static_cast<unsigned>(chunks), static_cast<unsigned>(options.kv_heads), sequences);
    const auto kernel = attention_decode<S, R>;
    const auto config =
        attention_config(context, kernel, grid, decode_threads, (parts + 1) * R * columns * sizeof(float));
    check(ATTUNE_LAUNCH(config, kernel, rows_of(q), rows_of(k), rows_of(v), shape, partials),
          "attention of few queries");
  };
  const std::int64_t rows = options.query_segments.max_length * (options.heads / options.kv_heads);
  if (chunks > 0) {
    if (rows == 1)
      launch(std::integral_constant<int, 1>());
    else if (rows <= 4)
      launch(std::integral_constant<int, 4>());
    else
      launch(std::integral_constant<int, most_decode_rows>());
  }
  const dim3 grid(static_cast<unsigned>(options.query_segments.max_length),
                  static_cast<unsigned>(options.heads), sequences);
  check(ATTUNE_LAUNCH(launch_config(context, grid, decode_threads), attention_decode_merge<S>, partials,
                      shape, rows_of(y), rows_of(lse)),
        "attention of few queries");
}

}  // namespace attune::cuda
