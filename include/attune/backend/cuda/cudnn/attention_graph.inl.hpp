#pragma once

#include <cstdint>

#include <attune/backend/cuda/cudnn/attention.hpp>
#include <attune/backend/cuda/cudnn/graph.inl.hpp>

// Attention as operation graphs of cuDNN. Its engines recognise the graph as a whole, by operations and their
// order: both are those in which NVIDIA's documentation and its open frontend describe attention.

namespace attune::cuda::cudnn {

/// What a plan's memory is bound by. Each ragged tensor t has the table of its begins at ragged + t.
namespace uid {
enum : std::int64_t {
  q = 1,
  k,
  v,
  y,
  lse,
  dy,
  dq,
  dk,
  dv,
  scale,
  hidden,  // minus infinity
  one,
  query_lengths,
  key_lengths,
  delta,  // sum dy y of each query, float [B, H, L]
  ragged = 100
};
}

/// Builds the graph of a problem, for the handle's device if there is one. Scores, weights and their
/// gradients are inner tensors [B, H, Lq, Lk].
class AttentionGraph {
 public:
  AttentionGraph(const Api& api, cudnnHandle_t handle, const AttentionProblem& problem)
      : graph_(api), p_(problem) {
    query_lengths_ = graph_.tensor(uid::query_lengths, CUDNN_DATA_INT32, {p_.batch, 1, 1, 1}, {1, 1, 1, 1});
    key_lengths_ = graph_.tensor(uid::key_lengths, CUDNN_DATA_INT32, {p_.batch, 1, 1, 1}, {1, 1, 1, 1});
    scale_ = graph_.scalar(uid::scale);
    hidden_ = graph_.scalar(uid::hidden);
    if (p_.backward)
      build_backward();
    else
      build_forward();
    graph_.finish(handle);
  }

  const Graph& graph() const { return graph_; }

 private:
  static constexpr auto real = CUDNN_DATA_FLOAT, half = CUDNN_DATA_BFLOAT16;

  /// [B, heads, L, D] over rows that are `stride` elements apart; the heads lie side by side in a row.
  GraphTensor rows(std::int64_t id, std::int64_t heads, std::int64_t length, std::int64_t stride) {
    return graph_.tensor(id, half, {p_.batch, heads, length, p_.head_size},
                         {length * stride, p_.head_size, stride, 1}, begins(id));
  }
  /// The same with rows and columns exchanged.
  GraphTensor rows_transposed(std::int64_t id, std::int64_t heads, std::int64_t length, std::int64_t stride) {
    return graph_.tensor(id, half, {p_.batch, heads, p_.head_size, length},
                         {length * stride, p_.head_size, 1, stride}, begins(id));
  }
  const Descriptor* begins(std::int64_t id) {
    if (p_.storage == Storage::padded) return nullptr;
    return graph_.tensor(uid::ragged + id, CUDNN_DATA_INT32, {p_.batch + 1, 1, 1, 1}, {1, 1, 1, 1})
        .descriptor;
  }
  GraphTensor log_sum_exp() {
    return graph_.tensor(uid::lse, real, column(), {p_.query_length * p_.lse_stride, 1, p_.lse_stride, 1},
                         begins(uid::lse));
  }

  Dims square() const { return {p_.batch, p_.heads, p_.query_length, p_.key_length}; }
  Dims column() const { return {p_.batch, p_.heads, p_.query_length, 1}; }
  GraphTensor scores(cudnnDataType_t type = real) { return graph_.inner(type, square(), dense(square())); }
  GraphTensor of_queries() { return graph_.inner(real, column(), dense(column())); }

  GraphTensor map(cudnnPointwiseMode_t mode, const GraphTensor& x, const GraphTensor& b = {}) {
    const GraphTensor y = graph_.inner(real, x.size, dense(x.size));
    graph_.pointwise(mode, y, x, b);
    return y;
  }

  void build_forward();
  void build_backward();
  GraphTensor masked_scores(const GraphTensor& q, const GraphTensor& k_transposed);
  GraphTensor hide_padding(const GraphTensor& x);
  GraphTensor hide_future(const GraphTensor& x);
  /// An inner x [B, H, Lq, Lk] as bfloat16 with rows and columns exchanged.
  GraphTensor transposed_weights(const GraphTensor& x);
  void gradient_of_keys(const GraphTensor& weights, const GraphTensor& rows_of_queries,
                        const GraphTensor& gradient);

  Graph graph_;
  const AttentionProblem p_;
  GraphTensor query_lengths_, key_lengths_, scale_, hidden_;
};

/// x, and minus infinity for keys and queries past a sequence's end.
inline GraphTensor AttentionGraph::hide_padding(const GraphTensor& x) {
  const GraphTensor row = scores(CUDNN_DATA_INT32), column = scores(CUDNN_DATA_INT32);
  const GraphTensor row_inside = scores(CUDNN_DATA_BOOLEAN), column_inside = scores(CUDNN_DATA_BOOLEAN),
                    inside = scores(CUDNN_DATA_BOOLEAN), y = scores();
  graph_.index(row, x, 2);
  graph_.index(column, x, 3);
  graph_.pointwise(CUDNN_POINTWISE_CMP_LT, row_inside, row, query_lengths_);
  graph_.pointwise(CUDNN_POINTWISE_CMP_LT, column_inside, column, key_lengths_);
  graph_.pointwise(CUDNN_POINTWISE_LOGICAL_AND, inside, row_inside, column_inside);
  graph_.pointwise(CUDNN_POINTWISE_BINARY_SELECT, y, x, hidden_, inside);
  return y;
}

/// x, and minus infinity where the key comes after the query.
inline GraphTensor AttentionGraph::hide_future(const GraphTensor& x) {
  const GraphTensor row = scores(CUDNN_DATA_INT32), column = scores(CUDNN_DATA_INT32);
  const GraphTensor seen = scores(CUDNN_DATA_BOOLEAN), y = scores();
  graph_.index(row, x, 2);
  graph_.index(column, x, 3);
  graph_.pointwise(CUDNN_POINTWISE_CMP_GE, seen, row, column);
  graph_.pointwise(CUDNN_POINTWISE_BINARY_SELECT, y, x, hidden_, seen);
  return y;
}

/// scale q k^T without what lies past the ends.
inline GraphTensor AttentionGraph::masked_scores(const GraphTensor& q, const GraphTensor& k_transposed) {
  const GraphTensor raw = scores();
  graph_.matmul(q, k_transposed, raw, {.rows = query_lengths_, .columns = key_lengths_, .terms = {}});
  return hide_padding(map(CUDNN_POINTWISE_MUL, raw, scale_));
}

/// y = softmax(scores) v, with the largest score of each query taken off before the exponentials.
inline void AttentionGraph::build_forward() {
  const GraphTensor q = rows(uid::q, p_.heads, p_.query_length, p_.q_stride);
  const GraphTensor k = rows_transposed(uid::k, p_.kv_heads, p_.key_length, p_.k_stride);
  const GraphTensor v = rows(uid::v, p_.kv_heads, p_.key_length, p_.v_stride);
  const GraphTensor y = rows(uid::y, p_.heads, p_.query_length, p_.y_stride), lse = log_sum_exp();

  GraphTensor s = masked_scores(q, k);
  if (p_.causal) s = hide_future(s);
  const GraphTensor largest = of_queries(), sum = of_queries(), weights = scores(half);
  graph_.reduce(CUDNN_REDUCE_TENSOR_MAX, largest, s);
  const GraphTensor exponentials = map(CUDNN_POINTWISE_EXP, map(CUDNN_POINTWISE_SUB, s, largest));
  graph_.reduce(CUDNN_REDUCE_TENSOR_ADD, sum, exponentials);
  graph_.pointwise(CUDNN_POINTWISE_ADD, lse, largest, map(CUDNN_POINTWISE_LOG, sum));
  graph_.pointwise(CUDNN_POINTWISE_DIV, weights, exponentials, sum);
  graph_.matmul(weights, v, y, {.rows = query_lengths_, .columns = {}, .terms = key_lengths_});
}

inline GraphTensor AttentionGraph::transposed_weights(const GraphTensor& x) {
  const GraphTensor y = graph_.inner(half, transposed(x.size), transposed(x.strides));
  graph_.reshape(y, x);
  return y;
}

/// gradient = weights^T rows_of_queries, summed over the heads that share a key's.
inline void AttentionGraph::gradient_of_keys(const GraphTensor& weights, const GraphTensor& rows_of_queries,
                                             const GraphTensor& gradient) {
  const Graph::Lengths lengths{.rows = key_lengths_, .columns = {}, .terms = query_lengths_};
  if (p_.heads == p_.kv_heads) return graph_.matmul(weights, rows_of_queries, gradient, lengths);
  const Dims size{p_.batch, p_.heads, p_.key_length, p_.head_size};
  const GraphTensor of_each_head = graph_.inner(half, size, dense(size));
  graph_.matmul(weights, rows_of_queries, of_each_head, lengths);
  graph_.reduce(CUDNN_REDUCE_TENSOR_ADD, gradient, of_each_head);
}

/// P = exp(scores - lse), dv = P^T dy, ds = scale P (dy v^T - delta) with delta = sum dy y, dk = ds^T q, dq =
/// ds k. dq is the result of one product and no sum of parts in memory, which is what asks cuDNN for a fixed
/// order.
inline void AttentionGraph::build_backward() {
  const GraphTensor q = rows(uid::q, p_.heads, p_.query_length, p_.q_stride);
  const GraphTensor k = rows_transposed(uid::k, p_.kv_heads, p_.key_length, p_.k_stride);
  const GraphTensor v = rows_transposed(uid::v, p_.kv_heads, p_.key_length, p_.v_stride);
  const GraphTensor y = rows(uid::y, p_.heads, p_.query_length, p_.y_stride), lse = log_sum_exp();
  const GraphTensor dy = rows(uid::dy, p_.heads, p_.query_length, p_.dy_stride);
  const GraphTensor dq = rows(uid::dq, p_.heads, p_.query_length, p_.dq_stride);
  const GraphTensor dk = rows(uid::dk, p_.kv_heads, p_.key_length, p_.dk_stride);
  const GraphTensor dv = rows(uid::dv, p_.kv_heads, p_.key_length, p_.dv_stride);

  const GraphTensor sum = of_queries(), delta = graph_.tensor(uid::delta, real, column(), dense(column()));
  graph_.reduce(CUDNN_REDUCE_TENSOR_ADD, sum, map(CUDNN_POINTWISE_MUL, dy, y));
  graph_.pointwise(CUDNN_POINTWISE_MUL, delta, sum, graph_.scalar(uid::one));

  GraphTensor s = map(CUDNN_POINTWISE_SUB, masked_scores(q, k), lse);
  if (p_.causal) s = hide_future(s);
  const GraphTensor weights = map(CUDNN_POINTWISE_EXP, s);
  gradient_of_keys(transposed_weights(weights), dy, dv);

  const GraphTensor dp = scores();
  graph_.matmul(dy, v, dp, {.rows = query_lengths_, .columns = key_lengths_, .terms = {}});
  const GraphTensor ds = map(CUDNN_POINTWISE_MUL,
                             map(CUDNN_POINTWISE_MUL, map(CUDNN_POINTWISE_SUB, dp, delta), weights), scale_);
  gradient_of_keys(transposed_weights(ds), q, dk);

  const GraphTensor keys = graph_.inner(half, transposed(k.size), transposed(k.strides), k.begins);
  graph_.reshape(keys, k);
  graph_.matmul(ds, keys, dq, {.rows = query_lengths_, .columns = {}, .terms = key_lengths_});
}

}  // namespace attune::cuda::cudnn
