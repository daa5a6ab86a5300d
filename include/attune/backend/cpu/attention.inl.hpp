#pragma once

#include <algorithm>
#include <cmath>

#include <attune/backend/cpu/activation.hpp>
#include <attune/backend/cpu/attention.hpp>
#include <attune/backend/cpu/dropout.hpp>
#include <attune/backend/cpu/row.hpp>
#include <attune/backend/cpu/scratch.hpp>
#include <attune/backend/cpu/serial_gemm.hpp>

namespace attune::cpu {

/// One sequence's rows.
struct AttentionSequence {
  std::int64_t query_begin, queries, key_begin, keys;

  AttentionSequence(const AttentionOptions& options, std::int64_t b)
      : query_begin(options.query_segments.offsets[b]),
        queries(options.query_segments.offsets[b + 1] - query_begin),
        key_begin(options.key_segments.offsets[b]),
        keys(options.key_segments.offsets[b + 1] - key_begin) {}
};

/// Keys first .. last of a sequence.
struct KeyRange {
  std::int64_t first, last;
};
inline KeyRange visible_keys(const AttentionOptions& options, std::int64_t query, std::int64_t keys) {
  const std::int64_t at = query + options.query_offset;
  KeyRange range{0, keys};
  if (options.causal) range.last = std::clamp<std::int64_t>(at + 1, 0, keys);
  if (options.window > 0) range.first = std::clamp<std::int64_t>(at - options.window + 1, 0, range.last);
  return range;
}

/// Queries that are worked on together: their scores are a matrix in the cache.
inline constexpr std::int64_t query_block = 64;

/// Queries begin .. begin + rows of a sequence, seen by one head, and the keys that any of them sees.
struct AttentionTile {
  std::int64_t begin, rows, keys_begin, keys;

  AttentionTile(const AttentionOptions& options, const AttentionSequence& sequence, std::int64_t query)
      : begin(query), rows(std::min(query_block, sequence.queries - query)) {
    // Both ends of the visible keys only grow with the query.
    keys_begin = visible_keys(options, begin, sequence.keys).first;
    keys =
        std::max<std::int64_t>(0, visible_keys(options, begin + rows - 1, sequence.keys).last - keys_begin);
  }
};

/// Rows of one head's columns as floats: through the view's stride, or widened.
inline FloatOperand head_rows(MatrixView<const float> m, std::int64_t row, std::int64_t column, std::int64_t,
                              std::int64_t, Scratch&) {
  return {m.row(row) + column, m.stride};
}
inline FloatOperand head_rows(MatrixView<const bfloat16> m, std::int64_t row, std::int64_t column,
                              std::int64_t rows, std::int64_t size, Scratch& scratch) {
  float* const floats = scratch.take<float>(rows * size);
  for (std::int64_t r = 0; r < rows; ++r) widen(m.row(row + r) + column, floats + r * size, size);
  return {floats, size};
}
inline FloatOperand transposed(FloatOperand operand) {
  return {operand.data, operand.stride, !operand.transposed};
}

inline bool are_consecutive(const std::int32_t* positions, std::int64_t count) {
  for (std::int64_t i = 1; i < count; ++i)
    if (positions[i] != positions[0] + i) return false;
  return true;
}

template <class T>
void Attention<T>::attention(MatrixView<const T> q, MatrixView<const T> k, MatrixView<const T> v,
                             AttentionOptions options, MatrixView<T> y, MatrixView<W> lse) const {
  // A task is a block of queries of one sequence and head. first_block[b] counts the blocks before sequence
  // b.
  const std::int64_t sequences = options.query_segments.count, size = options.head_size;
  Scratch outer;
  auto* const first_block = outer.take<std::int64_t>(sequences + 1);
  first_block[0] = 0;
  for (std::int64_t b = 0; b < sequences; ++b)
    first_block[b + 1] =
        first_block[b] + (AttentionSequence(options, b).queries + query_block - 1) / query_block;

  parallel_for(first_block[sequences] * options.heads, [&](std::int64_t task) {
    const std::int64_t block = task / options.heads, head = task % options.heads;
    const std::int64_t b =
        std::upper_bound(first_block, first_block + sequences + 1, block) - first_block - 1;
    const AttentionSequence sequence(options, b);
    const AttentionTile tile(options, sequence, (block - first_block[b]) * query_block);
    const std::int64_t kv_column = head / (options.heads / options.kv_heads) * size;
    const std::int64_t query_row = sequence.query_begin + tile.begin,
                       key_row = sequence.key_begin + tile.keys_begin;
    const std::int64_t n = tile.keys;

    Scratch scratch;
    const FloatOperand queries = head_rows(q, query_row, head * size, tile.rows, size, scratch);
    const FloatOperand keys = head_rows(k, key_row, kv_column, n, size, scratch);
    const FloatOperand values = head_rows(v, key_row, kv_column, n, size, scratch);
    float* const scores = scratch.take<float>(tile.rows * n);
    float* const factors = scratch.take<float>(n);
    float* const inverse_sums = scratch.take<float>(tile.rows);
    float* const out = scratch.take<float>(tile.rows * size);
    serial_gemm(tile.rows, n, size, options.scale, queries, transposed(keys), 0.0f, scores, n);

    const std::int32_t* const positions =
        options.dropout ? options.key_segments.positions + key_row : nullptr;
    const bool consecutive = options.dropout && are_consecutive(positions, n);
    for (std::int64_t r = 0; r < tile.rows; ++r) {
      const KeyRange visible = visible_keys(options, tile.begin + r, sequence.keys);
      const std::int64_t first = visible.first - tile.keys_begin, last = visible.last - tile.keys_begin;
      float* const row = scores + r * n;
      float& row_lse = lse.row(query_row + r)[head];
      std::fill(row, row + std::clamp<std::int64_t>(first, 0, n), 0.0f);
      std::fill(row + std::clamp<std::int64_t>(last, 0, n), row + n, 0.0f);
      if (first >= last) {
        std::fill_n(row, n, 0.0f);
        row_lse = -__builtin_inff();
        inverse_sums[r] = 0.0f;
        continue;
      }
      if (options.dropout)
        attention_dropout_row(options.dropout, query_row + r, head, positions, n, consecutive, factors);
      float largest, sum;
      kernels().rows.attention_weights(row + first, options.dropout ? factors + first : nullptr, last - first,
                                       &largest, &sum);
      row_lse = largest + std::log(sum);
      inverse_sums[r] = 1.0f / sum;
    }
    serial_gemm(tile.rows, size, n, 1.0f, {scores, n}, values, 0.0f, out, size);
    for (std::int64_t r = 0; r < tile.rows; ++r)
      kernels().elements<T>().scale_to(out + r * size, inverse_sums[r], y.row(query_row + r) + head * size,
                                       size);
  });
}

template <class T>
void Attention<T>::attention_backward(MatrixView<const T> dy, MatrixView<const T> q, MatrixView<const T> k,
                                      MatrixView<const T> v, MatrixView<const T>, MatrixView<const W> lse,
                                      AttentionOptions options, MatrixView<T> dq, MatrixView<T> dk,
                                      MatrixView<T> dv) const {
  // A task is one sequence and key head: it owns rows and columns of dk and dv and, for the query heads that
  // share them, of dq. The probabilities come again from lse; sum_j P_ij dP_ij is taken from them and not
  // from y, which is rounded.
  const std::int64_t size = options.head_size, group = options.heads / options.kv_heads;
  parallel_for(options.query_segments.count * options.kv_heads, [&](std::int64_t task) {
    const AttentionSequence sequence(options, task / options.kv_heads);
    const std::int64_t kv_column = task % options.kv_heads * size;
    Scratch outer;
    const FloatOperand keys = head_rows(k, sequence.key_begin, kv_column, sequence.keys, size, outer);
    const FloatOperand values = head_rows(v, sequence.key_begin, kv_column, sequence.keys, size, outer);
    float* const key_sums = outer.take<float>(sequence.keys * size);
    float* const value_sums = outer.take<float>(sequence.keys * size);
    std::fill_n(key_sums, sequence.keys * size, 0.0f);
    std::fill_n(value_sums, sequence.keys * size, 0.0f);

    for (std::int64_t head = task % options.kv_heads * group, end = head + group; head < end; ++head)
      for (std::int64_t begin = 0; begin < sequence.queries; begin += query_block) {
        const AttentionTile tile(options, sequence, begin);
        const std::int64_t query_row = sequence.query_begin + begin, n = tile.keys;
        const std::int64_t key_row = sequence.key_begin + tile.keys_begin;
        Scratch scratch;
        const FloatOperand queries = head_rows(q, query_row, head * size, tile.rows, size, scratch);
        const FloatOperand upstream = head_rows(dy, query_row, head * size, tile.rows, size, scratch);
        const FloatOperand tile_keys{keys.data + tile.keys_begin * keys.stride, keys.stride};
        const FloatOperand tile_values{values.data + tile.keys_begin * values.stride, values.stride};
        float* const probabilities = scratch.take<float>(tile.rows * n);
        float* const score_grads = scratch.take<float>(tile.rows * n);
        float* const factors = scratch.take<float>(n);
        float* const query_grads = scratch.take<float>(tile.rows * size);
        serial_gemm(tile.rows, n, size, options.scale, queries, transposed(tile_keys), 0.0f, probabilities,
                    n);
        serial_gemm(tile.rows, n, size, 1.0f, upstream, transposed(tile_values), 0.0f, score_grads, n);

        const std::int32_t* const positions =
            options.dropout ? options.key_segments.positions + key_row : nullptr;
        const bool consecutive = options.dropout && are_consecutive(positions, n);
        for (std::int64_t r = 0; r < tile.rows; ++r) {
          const KeyRange visible = visible_keys(options, tile.begin + r, sequence.keys);
          const std::int64_t first = std::clamp<std::int64_t>(visible.first - tile.keys_begin, 0, n);
          const std::int64_t last = std::clamp<std::int64_t>(visible.last - tile.keys_begin, first, n);
          float* const p = probabilities + r * n;
          float* const ds = score_grads + r * n;
          std::fill(p, p + first, 0.0f);
          std::fill(p + last, p + n, 0.0f);
          std::fill(ds, ds + first, 0.0f);
          std::fill(ds + last, ds + n, 0.0f);
          if (first == last) continue;
          if (options.dropout)
            attention_dropout_row(options.dropout, query_row + r, head, positions, n, consecutive, factors);
          kernels().rows.attention_weights_backward(p + first, ds + first,
                                                    options.dropout ? factors + first : nullptr,
                                                    lse.row(query_row + r)[head], last - first);
        }
        serial_gemm(tile.rows, size, n, options.scale, {score_grads, n}, tile_keys, 0.0f, query_grads, size);
        serial_gemm(n, size, tile.rows, options.scale, {score_grads, n, true}, queries, 1.0f,
                    key_sums + tile.keys_begin * size, size);
        serial_gemm(n, size, tile.rows, 1.0f, {probabilities, n, true}, upstream, 1.0f,
                    value_sums + tile.keys_begin * size, size);
        for (std::int64_t r = 0; r < tile.rows; ++r)
          narrow(query_grads + r * size, dq.row(query_row + r) + head * size, size);
      }
    for (std::int64_t j = 0; j < sequence.keys; ++j) {
      narrow(key_sums + j * size, dk.row(sequence.key_begin + j) + kv_column, size);
      narrow(value_sums + j * size, dv.row(sequence.key_begin + j) + kv_column, size);
    }
  });
}

}  // namespace attune::cpu
