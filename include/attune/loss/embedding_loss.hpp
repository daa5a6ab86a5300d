#pragma once

#include <cstdint>
#include <numeric>
#include <span>
#include <string>
#include <vector>

#include <attune/loss/cross_entropy.hpp>
#include <attune/loss/elementwise_loss.hpp>
#include <attune/ops/matmul.hpp>
#include <attune/ops/sum.hpp>

namespace attune {

/// Mean squared error between the cosine of each pair of embeddings and its score: u, v [B, C], both of
/// length 1 row by row, scores B. As sentence-transformers' CosineSimilarityLoss.
template <class T, class B>
Tensor<Wide<T>, B> cosine_similarity_loss(const Tensor<T, B>& u, const Tensor<T, B>& v,
                                          std::span<const float> scores) {
  if (u.rank() != 2 || !(u.shape() == v.shape()) || static_cast<std::int64_t>(scores.size()) != u.shape()[0])
    throw ShapeError("cosine_similarity_loss: u and v [B, C] and B scores are needed, found " +
                     u.shape().to_string() + ", " + v.shape().to_string() + " and " +
                     std::to_string(scores.size()) + " scores");
  return mse_loss(sum(u * v, {1}), scores);
}

/// Each u's own v against the other rows' as wrong answers: cross entropy of scale * u v^T, the right column
/// being the row's number. u, v [B, C], of length 1 row by row. Henderson et al. 2017, arXiv:1705.00652; as
/// sentence-transformers' MultipleNegativesRankingLoss.
template <class T, class B>
Tensor<Wide<T>, B> multiple_negatives_ranking_loss(const Tensor<T, B>& u, const Tensor<T, B>& v,
                                                   float scale = 20.0f) {
  if (u.rank() != 2 || !(u.shape() == v.shape()))
    throw ShapeError("multiple_negatives_ranking_loss: u and v [B, C] are needed, found " +
                     u.shape().to_string() + " and " + v.shape().to_string());
  std::vector<std::int32_t> labels(static_cast<std::size_t>(u.shape()[0]));
  std::iota(labels.begin(), labels.end(), 0);
  return cross_entropy(matmul(u, transpose(v, 0, 1)) * scale, labels);
}

}  // namespace attune
