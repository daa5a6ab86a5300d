#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <span>
#include <vector>

#include <attune/core/batch.hpp>
#include <attune/data/data_loader.hpp>
#include <attune/models/config.hpp>
#include <attune/tensor/graph.hpp>

namespace attune {

/// A model's logits for a whole dataset, in its order, with the labels that it came with.
struct Predictions {
  std::vector<float>
      logits;  ///< [rows, num_labels], row-major; the rows are sequences or, for token heads, tokens
  std::int64_t num_labels = 0;
  std::vector<std::int32_t> labels;
  std::vector<float> targets;
  Segments segments{};  ///< of all sequences
  double loss = 0.0;    ///< mean over the batches, weighted by their rows; 0 without labels

  std::int64_t rows() const {
    return num_labels == 0 ? 0 : static_cast<std::int64_t>(logits.size()) / num_labels;
  }
  std::span<const float> row(std::int64_t index) const {
    return std::span(logits).subspan(static_cast<std::size_t>(index * num_labels),
                                     static_cast<std::size_t>(num_labels));
  }
  /// The most likely class of each row; the lowest among equals.
  std::vector<std::int32_t> classes() const {
    std::vector<std::int32_t> result;
    for (std::int64_t i = 0; i < rows(); ++i) {
      const auto values = row(i);
      result.push_back(
          static_cast<std::int32_t>(std::max_element(values.begin(), values.end()) - values.begin()));
    }
    return result;
  }
};

/// The scores of a row's labels, as transformers' text-classification pipeline has them: the logits
/// themselves for regression, sigmoid(x) for multi_label and for a single label, else exp(x) / sum exp(x).
inline std::vector<float> label_scores(std::span<const float> logits, ProblemType type) {
  std::vector<float> result(logits.begin(), logits.end());
  if (type == ProblemType::regression) return result;
  if (type == ProblemType::multi_label || logits.size() == 1) {
    for (float& value : result) value = 1.0f / (1.0f + std::exp(-value));
    return result;
  }
  const float largest = result.empty() ? 0.0f : *std::max_element(result.begin(), result.end());
  float sum = 0.0f;
  for (float& value : result) sum += value = std::exp(value - largest);
  for (float& value : result) value /= sum;
  return result;
}

struct PredictOptions {
  std::int64_t batch_size = 32;
};

namespace detail {

template <class Model, Dataset D>
Predictions predict_in_eval(const Model& model, const D& dataset, const PredictOptions& options) {
  const NoGradGuard guard;
  Predictions result;
  double rows = 0.0;
  DataLoader loader(dataset, SequentialSampler(dataset.size()), {.batch_size = options.batch_size});
  for (const Batch& batch : loader) {
    const auto output = model(batch);
    const auto logits = output.logits.to_vector();
    result.num_labels = output.logits.shape().back();
    result.logits.insert(result.logits.end(), logits.begin(), logits.end());
    result.labels.insert(result.labels.end(), batch.labels.begin(), batch.labels.end());
    result.targets.insert(result.targets.end(), batch.targets.begin(), batch.targets.end());
    for (std::int64_t b = 0; b < batch.size(); ++b) result.segments.append(batch.segments.length(b));
    if (output.loss) {
      const double count = static_cast<double>(
          batch.labels.empty()
              ? batch.size()
              : batch.labels.size() - static_cast<std::size_t>(std::count(batch.labels.begin(),
                                                                          batch.labels.end(), ignore_index)));
      if (count > 0.0) result.loss += static_cast<double>(output.loss.item()) * count;
      rows += count;
    }
  }
  if (rows > 0.0) result.loss /= rows;
  return result;
}

}  // namespace detail

/// Runs a model with a head over a dataset, in eval(), and puts it back into training if that is where it
/// was.
template <class Model, Dataset D>
Predictions predict(Model& model, const D& dataset, const PredictOptions& options = {}) {
  if (!model.training()) return detail::predict_in_eval(model, dataset, options);
  model.eval();
  try {
    Predictions result = detail::predict_in_eval(model, dataset, options);
    model.train();
    return result;
  } catch (...) {
    model.train();
    throw;
  }
}

}  // namespace attune
