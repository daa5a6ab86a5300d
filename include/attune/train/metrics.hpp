#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <attune/core/batch.hpp>
#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>
#include <attune/train/metrics_options.hpp>

/// Metrics with the values of scikit-learn 1.9 and scipy 1.17 (and their defaults; a share of nothing is 0).
/// All take the predictions first. Class numbers that are to be left out have the reference ignore_index,
/// which serves token classification. Spans of different lengths are a ShapeError.
namespace attune {

/// The share of predictions that equal their references.
double accuracy(std::span<const std::int32_t> predictions, std::span<const std::int32_t> references);

/// Precision, recall and F1 of class numbers, one for each row. Throws ConfigError when Average::binary meets
/// more than two classes, or two without the positive one.
Scores scores(std::span<const std::int32_t> predictions, std::span<const std::int32_t> references,
              const ScoreOptions& options = {});
double precision(std::span<const std::int32_t> predictions, std::span<const std::int32_t> references,
                 const ScoreOptions& options = {});
double recall(std::span<const std::int32_t> predictions, std::span<const std::int32_t> references,
              const ScoreOptions& options = {});
double f1(std::span<const std::int32_t> predictions, std::span<const std::int32_t> references,
          const ScoreOptions& options = {});

/// The correlation of two class assignments, for any number of classes (Gorodkin 2004); 0 when either is
/// constant.
double matthews_correlation(std::span<const std::int32_t> predictions,
                            std::span<const std::int32_t> references);

struct MultilabelOptions {
  Average average = Average::micro;  ///< micro, macro or weighted
  float threshold = 0;               ///< a label counts as predicted above it; 0 is right for logits
};

struct MultilabelScores : Scores {
  double accuracy = 0;  ///< the share of rows in which all labels are right
};

/// `outputs` and `targets` (0 or 1) are [rows, num_labels], row-major. Throws ConfigError for
/// Average::binary.
MultilabelScores multilabel_scores(std::span<const float> outputs, std::span<const float> targets,
                                   std::int64_t num_labels, const MultilabelOptions& options = {});

/// Linear correlation. NaN for less than two pairs and when either side is constant.
double pearson(std::span<const float> predictions, std::span<const float> references);
/// Pearson's correlation of the ranks; equal values share their mean rank.
double spearman(std::span<const float> predictions, std::span<const float> references);
double mean_squared_error(std::span<const float> predictions, std::span<const float> references);

/// How often each class was taken for each.
struct ConfusionMatrix {
  std::int64_t num_classes = 0;
  std::vector<std::int64_t> counts;  ///< [reference, prediction], row-major

  std::int64_t at(std::int64_t reference, std::int64_t prediction) const {
    return counts[static_cast<std::size_t>(reference * num_classes + prediction)];
  }
};

/// Throws ConfigError for a class outside [0, num_classes).
ConfusionMatrix confusion_matrix(std::span<const std::int32_t> predictions,
                                 std::span<const std::int32_t> references, std::int64_t num_classes);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/train/metrics.inl.hpp>
#endif
