#pragma once

#include <span>
#include <string>
#include <vector>

#include <attune/core/batch.hpp>
#include <attune/loss/cross_entropy.hpp>
#include <attune/loss/elementwise_loss.hpp>
#include <attune/models/config.hpp>

namespace attune {

/// The loss of a sequence-classification head, chosen as transformers chooses: by problem_type, or else by
/// the labels. One label and no problem_type is regression. logits [B, num_labels]. Empty when the batch has
/// no labels. Throws ConfigError when the batch's labels are not of the kind that problem_type asks for.
/// Source: transformers/loss/loss_utils.py, ForSequenceClassificationLoss.
template <class T, class B>
Tensor<Wide<T>, B> sequence_classification_loss(const Tensor<T, B>& logits, const Batch& batch,
                                                const LabelConfig& labels,
                                                const CrossEntropyLossOptions& options) {
  const bool has_classes = !batch.labels.empty(), has_targets = !batch.targets.empty();
  if (!has_classes && !has_targets) return {};
  ProblemType type = labels.problem_type;
  if (type == ProblemType::from_labels) {
    type = labels.num_labels == 1 ? ProblemType::regression
           : has_classes          ? ProblemType::single_label
                                  : ProblemType::multi_label;
  }
  if (type == ProblemType::single_label) {
    if (!has_classes)
      throw ConfigError("loss: single_label_classification needs class numbers, found float targets");
    return cross_entropy(logits, batch.labels, options);
  }
  // One class number a row is a float target as well.
  const std::vector<float> numbers(batch.labels.begin(), batch.labels.end());
  const std::span<const float> targets = has_targets ? std::span(batch.targets) : std::span(numbers);
  return type == ProblemType::regression ? mse_loss(logits, targets) : bce_with_logits_loss(logits, targets);
}

}  // namespace attune
