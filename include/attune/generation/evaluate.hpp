#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <limits>
#include <span>
#include <vector>

#include <attune/core/batch.hpp>
#include <attune/generation/generate.hpp>
#include <attune/loss/cross_entropy.hpp>
#include <attune/loss/linear_cross_entropy.hpp>
#include <attune/models/decoder_input.hpp>
#include <attune/ops/view.hpp>

namespace attune {

/// How well a causal language model predicts labelled tokens. Batches add up.
struct CausalLMScores {
  double loss_sum = 0.0;     ///< of -log p, over all tokens
  std::int64_t tokens = 0;   ///< that were predicted
  std::int64_t correct = 0;  ///< whose likeliest prediction was right

  double loss() const {
    return tokens == 0 ? std::numeric_limits<double>::quiet_NaN() : loss_sum / static_cast<double>(tokens);
  }
  double perplexity() const { return std::exp(loss()); }
  double accuracy() const {
    return tokens == 0 ? std::numeric_limits<double>::quiet_NaN()
                       : static_cast<double>(correct) / static_cast<double>(tokens);
  }
  CausalLMScores& operator+=(const CausalLMScores& other) {
    loss_sum += other.loss_sum;
    tokens += other.tokens;
    correct += other.correct;
    return *this;
  }
};

/// Scores a model on one batch, with dropout off and no graph. Throws ShapeError without a label for each
/// token.
template <class Model>
CausalLMScores evaluate_causal_lm(Model& model, const Batch& batch) {
  const detail::EvalMode<Model> no_dropout(model);
  const NoGradGuard no_graph;
  CausalLMScores scores;
  const CausalTargets targets = causal_targets(batch, model.loss_options.ignore_index);
  if (targets.rows.empty()) return scores;
  const auto states = model.states_of(batch, targets.rows);
  const auto rows = static_cast<std::int64_t>(targets.rows.size());
  const std::int64_t chunk =
      std::max<std::int64_t>(16, held_logits(states.device(), model.loss_options) / model.vocab_size());
  for (std::int64_t begin = 0; begin < rows; begin += chunk) {
    const std::int64_t end = std::min(rows, begin + chunk);
    const auto labels = std::span<const std::int32_t>(targets.labels)
                            .subspan(static_cast<std::size_t>(begin), static_cast<std::size_t>(end - begin));
    const auto logits = model.logits_of(slice(states, 0, begin, end));
    using T = typename Model::value_type;
    using B = typename Model::backend_type;
    const Detached<std::int32_t, B> found(model.device(), {end - begin});
    model.device().argmax_rows(MatrixView<const T>(logits.detach().matrix()), found.span());
    scores.loss_sum +=
        static_cast<double>(cross_entropy(logits, labels).item()) * static_cast<double>(end - begin);
    const std::vector<std::int32_t> predicted = found.to_vector();
    for (std::size_t i = 0; i < predicted.size(); ++i) scores.correct += predicted[i] == labels[i];
  }
  scores.tokens = rows;
  return scores;
}

}  // namespace attune
