#pragma once

#include <attune/ops/embedding.hpp>

namespace attune {

/// A table of vectors, as torch.nn.Embedding: weight [V, C].
template <class T, class B>
struct Embedding {
  Parameter<T, B> weight;

  Embedding() = default;
  /// The row `padding_idx` begins as zeros; -1: none. Whether it trains is up to the RowIndex.
  Embedding(const B& device, std::int64_t num_embeddings, std::int64_t embedding_dim,
            std::int64_t padding_idx = -1)
      : weight(device, {num_embeddings, embedding_dim}, Init::normal) {
    weight.state()->zero_row = padding_idx;
  }

  Tensor<T, B> operator()(const RowIndex<B>& ids) const { return embedding(ids, weight); }

  template <class Self, class Visitor>
  static void visit(Self& self, Visitor&& part) {
    part("weight", self.weight);
  }
};

}  // namespace attune
