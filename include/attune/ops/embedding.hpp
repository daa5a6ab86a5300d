#pragma once

#include <attune/autograd/apply.hpp>
#include <attune/ops/gather_rows.hpp>

namespace attune {

namespace detail {

/// y[i] = sum over tables of table[ids[i]]; dtable[ids[i]] += dy[i]. Absent tables are empty parameters.
template <class T, class B>
struct EmbeddingOp {
  static constexpr const char* name = "embedding";
  RowIndex<B> ids[3];

  Detached<T, B> forward(Needs, const Detached<T, B>& a, const Detached<T, B>& b, const Detached<T, B>& c) {
    const Detached<T, B> y(a.device(), {ids[0].size(), a.shape()[1]});
    const Detached<T, B>* tables[] = {&a, &b, &c};
    for (int i = 0; i < 3; ++i)
      if (*tables[i])
        y.device().gather_rows(MatrixView<const T>(tables[i]->matrix()), ids[i].span(), y.matrix(), i > 0);
    return y;
  }
  void backward(const Detached<T, B>& dy, Gradient<Wide<T>, B> da, Gradient<Wide<T>, B> db,
                Gradient<Wide<T>, B> dc) const {
    Gradient<Wide<T>, B>* gradients[] = {&da, &db, &dc};
    for (int i = 0; i < 3; ++i) {
      if (!*gradients[i]) continue;
      const bool accumulate = gradients[i]->accumulate_rows(ids[i].gradient_span());
      dy.device().scatter_add_rows(MatrixView<const T>(dy.matrix()), ids[i].gradient_span(),
                                   gradients[i]->target().matrix(), accumulate);
    }
  }
};

template <class T, class B>
void check_embedding(const RowIndex<B>& ids, const Parameter<T, B>& table, std::int64_t rows,
                     std::int64_t features) {
  if (!table) return;
  const Shape shape = table.shape();
  if (shape.rank() != 2 || ids.end() > shape[0] || ids.size() != rows || shape[1] != features)
    throw ShapeError("embedding: " + std::to_string(rows) + " ids below the table's row count and " +
                     std::to_string(features) + " features are needed, found a table of shape " +
                     shape.to_string() + ", " + std::to_string(ids.size()) + " ids and the largest id " +
                     std::to_string(ids.end() - 1));
}

}  // namespace detail

/// Rows of a table [V, C] by ids N: result [N, C].
template <class T, class B>
Tensor<T, B> embedding(const RowIndex<B>& ids, const Parameter<T, B>& table) {
  detail::check_embedding(ids, table, ids.size(), table.shape().back());
  return apply(detail::EmbeddingOp<T, B>{{ids, {}, {}}}, table, Parameter<T, B>(), Parameter<T, B>());
}

/// The sum of up to three embeddings in one pass: BERT's words, positions and token types. An empty third
/// table is left out.
template <class T, class B>
Tensor<T, B> embedding_sum(const RowIndex<B>& ids, const Parameter<T, B>& table,
                           const RowIndex<B>& second_ids, const Parameter<T, B>& second,
                           const RowIndex<B>& third_ids, const Parameter<T, B>& third) {
  const std::int64_t features = table.shape().back();
  detail::check_embedding(ids, table, ids.size(), features);
  detail::check_embedding(second_ids, second, ids.size(), features);
  detail::check_embedding(third_ids, third, ids.size(), features);
  return apply(detail::EmbeddingOp<T, B>{{ids, second_ids, third_ids}}, table, second, third);
}

}  // namespace attune
