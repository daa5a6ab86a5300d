#pragma once

#include <cmath>
#include <limits>
#include <vector>

#include <attune/backend/backend.hpp>
#include <attune/backend/reference/common.hpp>

namespace attune::reference {

/// Vaswani et al., "Attention is all you need", arXiv:1706.03762: y_i = sum_j P_ij v_j with
/// P_ij = exp(s_ij - lse_i), s_ij = scale q_i . k_j, over the keys that query i sees; dropout multiplies P.
template <class T>
struct Attention {
  using W = Wide<T>;

  void attention(MatrixView<const T> q, MatrixView<const T> k, MatrixView<const T> v,
                 AttentionOptions options, MatrixView<T> y, MatrixView<W> lse) const {
    for_each_query(options, [&](const Query& query) {
      std::vector<double> sum(static_cast<std::size_t>(options.head_size), 0.0);
      double largest = -std::numeric_limits<double>::infinity(), total = 0.0;
      for (std::int64_t j = query.key_begin; j < query.key_end; ++j)
        largest = std::max(largest, score(q, k, options, query, j));
      for (std::int64_t j = query.key_begin; j < query.key_end; ++j) {
        const double weight = std::exp(score(q, k, options, query, j) - largest);
        total += weight;
        const double dropped = weight * query.dropout_factor(options, j);
        for (std::size_t d = 0; d < sum.size(); ++d)
          sum[d] += dropped * double(v.row(j)[query.kv_column + static_cast<std::int64_t>(d)]);
      }
      const bool empty = query.key_begin == query.key_end;
      for (std::size_t d = 0; d < sum.size(); ++d)
        y.row(query.row)[query.column + static_cast<std::int64_t>(d)] = T(empty ? 0.0 : sum[d] / total);
      lse.row(query.row)[query.head] = W(empty ? largest : largest + std::log(total));
    });
  }

  /// With m the dropout's factors and dP_ij = m_ij dy_i . v_j:
  ///   dv_j = sum_i P_ij m_ij dy_i,  ds_ij = P_ij (dP_ij - sum_j P_ij dP_ij),
  ///   dq_i = scale sum_j ds_ij k_j,  dk_j = scale sum_i ds_ij q_i.
  /// y, from which other backends take sum_j P_ij dP_ij = dy_i . y_i, is not needed here.
  void attention_backward(MatrixView<const T> dy, MatrixView<const T> q, MatrixView<const T> k,
                          MatrixView<const T> v, MatrixView<const T>, MatrixView<const W> lse,
                          AttentionOptions options, MatrixView<T> dq, MatrixView<T> dk,
                          MatrixView<T> dv) const {
    const std::int64_t size = options.head_size, kv_width = options.kv_heads * size;
    std::vector<double> key_sums(static_cast<std::size_t>(k.rows * kv_width), 0.0), value_sums = key_sums;
    for_each_query(options, [&](const Query& query) {
      const auto probability = [&](std::int64_t j) {
        return std::exp(score(q, k, options, query, j) - double(lse.row(query.row)[query.head]));
      };
      const auto probability_grad = [&](std::int64_t j) {
        double dot = 0.0;
        for (std::int64_t d = 0; d < size; ++d)
          dot += double(dy.row(query.row)[query.column + d]) * double(v.row(j)[query.kv_column + d]);
        return dot * query.dropout_factor(options, j);
      };
      double delta = 0.0;
      for (std::int64_t j = query.key_begin; j < query.key_end; ++j)
        delta += probability(j) * probability_grad(j);
      std::vector<double> query_sum(static_cast<std::size_t>(size), 0.0);
      for (std::int64_t j = query.key_begin; j < query.key_end; ++j) {
        const double p = probability(j);
        const double dropped = p * query.dropout_factor(options, j);
        const double score_grad = double{options.scale} * p * (probability_grad(j) - delta);
        for (std::int64_t d = 0; d < size; ++d) {
          const auto at = static_cast<std::size_t>(j * kv_width + query.kv_column + d);
          query_sum[static_cast<std::size_t>(d)] += score_grad * double(k.row(j)[query.kv_column + d]);
          key_sums[at] += score_grad * double(q.row(query.row)[query.column + d]);
          value_sums[at] += dropped * double(dy.row(query.row)[query.column + d]);
        }
      }
      for (std::int64_t d = 0; d < size; ++d)
        dq.row(query.row)[query.column + d] = T(query_sum[static_cast<std::size_t>(d)]);
    });
    for (std::int64_t row = 0; row < k.rows; ++row)
      for (std::int64_t c = 0; c < kv_width; ++c) {
        dk.row(row)[c] = T(key_sums[static_cast<std::size_t>(row * kv_width + c)]);
        dv.row(row)[c] = T(value_sums[static_cast<std::size_t>(row * kv_width + c)]);
      }
  }

 private:
  struct Query {
    std::int64_t row, head, column, kv_column;  ///< column: where its head begins in q, kv_column: in k and v
    std::int64_t key_begin, key_end;            ///< the key rows that it sees

    double dropout_factor(const AttentionOptions& options, std::int64_t key_row) const {
      if (!options.dropout) return 1.0;
      return attention_dropout_factor(options.dropout, row, options.key_segments.positions[key_row], head);
    }
  };

  template <class F>
  static void for_each_query(const AttentionOptions& options, const F& f) {
    for (std::int64_t b = 0; b < options.query_segments.count; ++b) {
      const std::int64_t query_begin = options.query_segments.offsets[b];
      const std::int64_t query_end = options.query_segments.offsets[b + 1];
      const std::int64_t key_begin = options.key_segments.offsets[b];
      const std::int64_t length = options.key_segments.offsets[b + 1] - key_begin;
      for (std::int64_t h = 0; h < options.heads; ++h)
        for (std::int64_t i = 0; i < query_end - query_begin; ++i) {
          const std::int64_t at = i + options.query_offset;
          std::int64_t first = 0, last = length;  // of the sequence's keys
          if (options.causal) last = std::clamp<std::int64_t>(at + 1, 0, length);
          if (options.window > 0) first = std::clamp<std::int64_t>(at - options.window + 1, 0, last);
          const std::int64_t kv_head = h / (options.heads / options.kv_heads);
          f(Query{query_begin + i, h, h * options.head_size, kv_head * options.head_size, key_begin + first,
                  key_begin + last});
        }
    }
  }

  static double score(MatrixView<const T> q, MatrixView<const T> k, const AttentionOptions& options,
                      const Query& query, std::int64_t key_row) {
    double dot = 0.0;
    for (std::int64_t d = 0; d < options.head_size; ++d)
      dot += double(q.row(query.row)[query.column + d]) * double(k.row(key_row)[query.kv_column + d]);
    return double{options.scale} * dot;
  }
};

}  // namespace attune::reference
