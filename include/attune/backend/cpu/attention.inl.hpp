#pragma once

#include <algorithm>
#include <cmath>

#include <attune/backend/cpu/attention.hpp>
#include <attune/backend/cpu/attention_panels.hpp>
#include <attune/backend/cpu/attention_parts.hpp>
#include <attune/backend/cpu/dropout.hpp>
#include <attune/backend/cpu/row.hpp>
#include <attune/backend/cpu/scratch.hpp>
#include <attune/backend/cpu/serial_gemm.hpp>

namespace attune::cpu {

/// Sequences with at most so many queries (a token that is generated, a pooled row) are worked on row by row:
/// packing their keys would cost more than the products.
inline constexpr std::int64_t few_queries = 4;

/// All queries of such a sequence and the keys that any of them sees.
struct AttentionRows {
  std::int64_t query_row, queries, first_key, keys, key_row;

  AttentionRows(const AttentionOptions& options, const AttentionSequence& sequence)
      : query_row(sequence.query_begin), queries(sequence.queries) {
    // Both ends of the visible keys only grow with the query.
    first_key = visible_keys(options, 0, sequence.keys).first;
    keys = std::max<std::int64_t>(0, visible_keys(options, queries - 1, sequence.keys).last - first_key);
    key_row = sequence.key_begin + first_key;
  }
  /// The keys that a query sees, counted from first_key.
  KeyRange visible(const AttentionOptions& options, std::int64_t query, std::int64_t sequence_keys) const {
    const KeyRange range = visible_keys(options, query, sequence_keys);
    const std::int64_t first = std::clamp<std::int64_t>(range.first - first_key, 0, keys);
    return {first, std::clamp<std::int64_t>(range.last - first_key, first, keys)};
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

template <class T>
void attend_rows(const MatrixView<const T>& q, const MatrixView<const T>& k, const MatrixView<const T>& v,
                 const AttentionOptions& options, const AttentionSequence& sequence, std::int64_t head,
                 const MatrixView<T>& y, const MatrixView<float>& lse) {
  const AttentionRows rows(options, sequence);
  const std::int64_t size = options.head_size, n = rows.keys;
  const std::int64_t kv_column = head / (options.heads / options.kv_heads) * size;
  Scratch scratch;
  const FloatOperand queries = head_rows(q, rows.query_row, head * size, rows.queries, size, scratch);
  const FloatOperand keys = head_rows(k, rows.key_row, kv_column, n, size, scratch);
  const FloatOperand values = head_rows(v, rows.key_row, kv_column, n, size, scratch);
  float* const scores = scratch.take<float>(rows.queries * n);
  float* const factors = scratch.take<float>(n);
  float* const inverse_sums = scratch.take<float>(rows.queries);
  float* const out = scratch.take<float>(rows.queries * size);
  serial_gemm(rows.queries, n, size, options.scale, queries, transposed(keys), 0.0f, scores, n);

  const std::int32_t* const positions =
      options.dropout ? options.key_segments.positions + rows.key_row : nullptr;
  const bool consecutive = options.dropout && are_consecutive(positions, n);
  for (std::int64_t r = 0; r < rows.queries; ++r) {
    const auto [first, last] = rows.visible(options, r, sequence.keys);
    float* const row = scores + r * n;
    float& row_lse = lse.row(rows.query_row + r)[head];
    std::fill(row, row + first, 0.0f);
    std::fill(row + last, row + n, 0.0f);
    if (first == last) {
      row_lse = -__builtin_inff();
      inverse_sums[r] = 0.0f;
      continue;
    }
    if (options.dropout)
      attention_dropout_row(options.dropout, rows.query_row + r, head, positions, n, consecutive, factors);
    float largest, sum;
    kernels().rows.attention_weights(row + first, options.dropout ? factors + first : nullptr, last - first,
                                     &largest, &sum);
    row_lse = largest + std::log(sum);
    inverse_sums[r] = 1.0f / sum;
  }
  serial_gemm(rows.queries, size, n, 1.0f, {scores, n}, values, 0.0f, out, size);
  for (std::int64_t r = 0; r < rows.queries; ++r)
    kernels().elements<T>().scale_to(out + r * size, inverse_sums[r], y.row(rows.query_row + r) + head * size,
                                     size);
}

template <class T>
void attend_rows_backward(const MatrixView<const T>& dy, const MatrixView<const T>& q,
                          const MatrixView<const T>& k, const MatrixView<const T>& v,
                          const MatrixView<const float>& lse, const AttentionOptions& options,
                          const AttentionSequence& sequence, std::int64_t kv_head, const MatrixView<T>& dq,
                          const MatrixView<T>& dk, const MatrixView<T>& dv) {
  const AttentionRows rows(options, sequence);
  const std::int64_t size = options.head_size, group = options.heads / options.kv_heads, n = rows.keys;
  const std::int64_t kv_column = kv_head * size;
  Scratch outer;
  const FloatOperand keys = head_rows(k, rows.key_row, kv_column, n, size, outer);
  const FloatOperand values = head_rows(v, rows.key_row, kv_column, n, size, outer);
  float* const key_sums = outer.take<float>(sequence.keys * size);
  float* const value_sums = outer.take<float>(sequence.keys * size);
  std::fill_n(key_sums, sequence.keys * size, 0.0f);
  std::fill_n(value_sums, sequence.keys * size, 0.0f);

  for (std::int64_t head = kv_head * group; head < (kv_head + 1) * group; ++head) {
    Scratch scratch;
    const FloatOperand queries = head_rows(q, rows.query_row, head * size, rows.queries, size, scratch);
    const FloatOperand upstream = head_rows(dy, rows.query_row, head * size, rows.queries, size, scratch);
    float* const probabilities = scratch.take<float>(rows.queries * n);
    float* const score_grads = scratch.take<float>(rows.queries * n);
    float* const factors = scratch.take<float>(n);
    float* const query_grads = scratch.take<float>(rows.queries * size);
    serial_gemm(rows.queries, n, size, options.scale, queries, transposed(keys), 0.0f, probabilities, n);
    serial_gemm(rows.queries, n, size, 1.0f, upstream, transposed(values), 0.0f, score_grads, n);

    const std::int32_t* const positions =
        options.dropout ? options.key_segments.positions + rows.key_row : nullptr;
    const bool consecutive = options.dropout && are_consecutive(positions, n);
    for (std::int64_t r = 0; r < rows.queries; ++r) {
      const auto [first, last] = rows.visible(options, r, sequence.keys);
      float* const p = probabilities + r * n;
      float* const ds = score_grads + r * n;
      std::fill(p, p + first, 0.0f);
      std::fill(p + last, p + n, 0.0f);
      std::fill(ds, ds + first, 0.0f);
      std::fill(ds + last, ds + n, 0.0f);
      if (first == last) continue;
      if (options.dropout)
        attention_dropout_row(options.dropout, rows.query_row + r, head, positions, n, consecutive, factors);
      kernels().rows.attention_weights_backward(p + first, ds + first,
                                                options.dropout ? factors + first : nullptr,
                                                lse.row(rows.query_row + r)[head], last - first);
    }
    serial_gemm(rows.queries, size, n, options.scale, {score_grads, n}, keys, 0.0f, query_grads, size);
    serial_gemm(n, size, rows.queries, options.scale, {score_grads, n, true}, queries, 1.0f,
                key_sums + rows.first_key * size, size);
    serial_gemm(n, size, rows.queries, 1.0f, {probabilities, n, true}, upstream, 1.0f,
                value_sums + rows.first_key * size, size);
    for (std::int64_t r = 0; r < rows.queries; ++r)
      narrow(query_grads + r * size, dq.row(rows.query_row + r) + head * size, size);
  }
  for (std::int64_t j = 0; j < sequence.keys; ++j) {
    narrow(key_sums + j * size, dk.row(sequence.key_begin + j) + kv_column, size);
    narrow(value_sums + j * size, dv.row(sequence.key_begin + j) + kv_column, size);
  }
}

template <class T>
void Attention<T>::attention(MatrixView<const T> q, MatrixView<const T> k, MatrixView<const T> v,
                             AttentionOptions options, MatrixView<T> y, MatrixView<W> lse) const {
  // A task is a block of queries of one sequence and head. first_block[b] counts the blocks before sequence
  // b.
  const std::int64_t sequences = options.query_segments.count;
  const std::int64_t query_block = 8 * kernels().panels.width;
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
    if (sequence.queries <= few_queries) return attend_rows(q, k, v, options, sequence, head, y, lse);
    const std::int64_t begin = (block - first_block[b]) * query_block;
    attend_panels(q, k, v, options, sequence, head, begin, std::min(begin + query_block, sequence.queries), y,
                  lse);
  });
}

template <class T>
void Attention<T>::attention_backward(MatrixView<const T> dy, MatrixView<const T> q, MatrixView<const T> k,
                                      MatrixView<const T> v, MatrixView<const T>, MatrixView<const W> lse,
                                      AttentionOptions options, MatrixView<T> dq, MatrixView<T> dk,
                                      MatrixView<T> dv) const {
  // A task is one sequence and key head. The probabilities come again from lse; sum_j P_ij dP_ij is taken
  // from them and not from y, which is rounded.
  parallel_for(options.query_segments.count * options.kv_heads, [&](std::int64_t task) {
    const AttentionSequence sequence(options, task / options.kv_heads);
    const std::int64_t kv_head = task % options.kv_heads;
    if (sequence.queries <= few_queries)
      attend_rows_backward(dy, q, k, v, lse, options, sequence, kv_head, dq, dk, dv);
    else
      attend_panels_backward(dy, q, k, v, lse, options, sequence, kv_head, dq, dk, dv);
  });
}

}  // namespace attune::cpu
