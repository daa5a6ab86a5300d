#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <limits>
#include <map>
#include <numeric>
#include <string>
#include <utility>

#include <attune/train/metrics.hpp>
#include <attune/train/metrics_counts.inl.hpp>

namespace attune {

namespace detail {

/// Calls f(prediction, reference) for each pair that counts.
template <class F>
void each_class_pair(std::span<const std::int32_t> predictions, std::span<const std::int32_t> references,
                     const F& f) {
  for (std::size_t at = 0; at < references.size(); ++at)
    if (references[at] != ignore_index) f(predictions[at], references[at]);
}

/// The mean rank of each value, from 1.
inline std::vector<double> ranks(std::span<const float> values) {
  std::vector<std::size_t> order(values.size());
  std::iota(order.begin(), order.end(), std::size_t{0});
  std::sort(order.begin(), order.end(), [&](std::size_t a, std::size_t b) { return values[a] < values[b]; });
  std::vector<double> rank(values.size());
  for (std::size_t begin = 0; begin < order.size();) {
    std::size_t end = begin + 1;
    while (end < order.size() && values[order[end]] == values[order[begin]]) ++end;
    for (std::size_t at = begin; at < end; ++at) rank[order[at]] = 0.5 * static_cast<double>(begin + end + 1);
    begin = end;
  }
  return rank;
}

template <class Values>
double correlation(const Values& a, const Values& b) {
  constexpr double undefined = std::numeric_limits<double>::quiet_NaN();
  const std::size_t count = a.size();
  if (count < 2) return undefined;
  double mean_a = 0, mean_b = 0;
  for (std::size_t at = 0; at < count; ++at) {
    mean_a += a[at];
    mean_b += b[at];
  }
  mean_a /= static_cast<double>(count);
  mean_b /= static_cast<double>(count);
  double product = 0, square_a = 0, square_b = 0;
  for (std::size_t at = 0; at < count; ++at) {
    const double from_a = a[at] - mean_a, from_b = b[at] - mean_b;
    product += from_a * from_b;
    square_a += from_a * from_a;
    square_b += from_b * from_b;
  }
  // A constant side may have a rounded mean that differs from it.
  const auto constant = [](const Values& values) {
    return std::all_of(values.begin(), values.end(), [&](auto value) { return value == values[0]; });
  };
  if (constant(a) || constant(b)) return undefined;
  const double r = product / (std::sqrt(square_a) * std::sqrt(square_b));
  return std::isnan(r) ? undefined : std::clamp(r, -1.0, 1.0);
}

}  // namespace detail

ATTUNE_INLINE double accuracy(std::span<const std::int32_t> predictions,
                              std::span<const std::int32_t> references) {
  detail::check_lengths("accuracy", predictions.size(), references.size());
  double right = 0, all = 0;
  detail::each_class_pair(predictions, references, [&](std::int32_t prediction, std::int32_t reference) {
    right += prediction == reference;
    ++all;
  });
  return detail::ratio(right, all);
}

ATTUNE_INLINE Scores scores(std::span<const std::int32_t> predictions,
                            std::span<const std::int32_t> references, const ScoreOptions& options) {
  detail::check_lengths("scores", predictions.size(), references.size());
  std::map<std::int32_t, detail::ClassCounts> classes;
  detail::each_class_pair(predictions, references, [&](std::int32_t prediction, std::int32_t reference) {
    ++classes[prediction].predicted;
    ++classes[reference].actual;
    if (prediction == reference) ++classes[reference].correct;
  });
  if (options.average == Average::binary) {
    const auto positive = classes.find(options.positive);
    if (classes.size() > 2 || (classes.size() == 2 && positive == classes.end()))
      throw ConfigError("scores: Average::binary expects two classes, one of them " +
                        std::to_string(options.positive) + "; found " + std::to_string(classes.size()) +
                        " classes, the first " + std::to_string(classes.begin()->first));
    return positive == classes.end() ? Scores() : positive->second.scores();
  }
  std::vector<detail::ClassCounts> counts;
  for (const auto& [label, of_class] : classes) counts.push_back(of_class);
  return detail::average_scores(counts, options.average);
}

ATTUNE_INLINE double precision(std::span<const std::int32_t> predictions,
                               std::span<const std::int32_t> references, const ScoreOptions& options) {
  return scores(predictions, references, options).precision;
}
ATTUNE_INLINE double recall(std::span<const std::int32_t> predictions,
                            std::span<const std::int32_t> references, const ScoreOptions& options) {
  return scores(predictions, references, options).recall;
}
ATTUNE_INLINE double f1(std::span<const std::int32_t> predictions, std::span<const std::int32_t> references,
                        const ScoreOptions& options) {
  return scores(predictions, references, options).f1;
}

ATTUNE_INLINE double matthews_correlation(std::span<const std::int32_t> predictions,
                                          std::span<const std::int32_t> references) {
  detail::check_lengths("matthews_correlation", predictions.size(), references.size());
  std::map<std::int32_t, detail::ClassCounts> classes;
  double all = 0, right = 0;
  detail::each_class_pair(predictions, references, [&](std::int32_t prediction, std::int32_t reference) {
    ++classes[prediction].predicted;
    ++classes[reference].actual;
    right += prediction == reference;
    ++all;
  });
  double covariance = right * all, spread_predicted = all * all, spread_actual = all * all;
  for (const auto& [label, counts] : classes) {
    const auto predicted = static_cast<double>(counts.predicted), actual = static_cast<double>(counts.actual);
    covariance -= predicted * actual;
    spread_predicted -= predicted * predicted;
    spread_actual -= actual * actual;
  }
  return detail::ratio(covariance, std::sqrt(spread_predicted) * std::sqrt(spread_actual));
}

ATTUNE_INLINE MultilabelScores multilabel_scores(std::span<const float> outputs,
                                                 std::span<const float> targets, std::int64_t num_labels,
                                                 const MultilabelOptions& options) {
  detail::check_lengths("multilabel_scores", outputs.size(), targets.size());
  if (options.average == Average::binary)
    throw ConfigError("multilabel_scores: expected Average::micro, macro or weighted, found binary");
  if (num_labels < 1 || targets.size() % static_cast<std::size_t>(num_labels) != 0)
    throw ShapeError("multilabel_scores: expected rows of num_labels = " + std::to_string(num_labels) +
                     " entries, found " + std::to_string(targets.size()) + " entries");
  std::vector<detail::ClassCounts> labels(static_cast<std::size_t>(num_labels));
  double rows = 0, right_rows = 0;
  for (std::size_t begin = 0; begin < targets.size(); begin += labels.size()) {
    bool all_right = true;
    for (std::size_t label = 0; label < labels.size(); ++label) {
      const bool predicted = outputs[begin + label] > options.threshold;
      const bool actual = targets[begin + label] > 0.5f;
      labels[label].predicted += predicted;
      labels[label].actual += actual;
      labels[label].correct += predicted && actual;
      all_right = all_right && predicted == actual;
    }
    ++rows;
    right_rows += all_right;
  }
  MultilabelScores result;
  static_cast<Scores&>(result) = detail::average_scores(labels, options.average);
  result.accuracy = detail::ratio(right_rows, rows);
  return result;
}

ATTUNE_INLINE double pearson(std::span<const float> predictions, std::span<const float> references) {
  detail::check_lengths("pearson", predictions.size(), references.size());
  return detail::correlation(predictions, references);
}

ATTUNE_INLINE double spearman(std::span<const float> predictions, std::span<const float> references) {
  detail::check_lengths("spearman", predictions.size(), references.size());
  const auto is_nan = [](float value) { return std::isnan(value); };
  if (std::any_of(predictions.begin(), predictions.end(), is_nan) ||
      std::any_of(references.begin(), references.end(), is_nan))
    return std::numeric_limits<double>::quiet_NaN();
  return detail::correlation(detail::ranks(predictions), detail::ranks(references));
}

ATTUNE_INLINE double mean_squared_error(std::span<const float> predictions,
                                        std::span<const float> references) {
  detail::check_lengths("mean_squared_error", predictions.size(), references.size());
  double sum = 0;
  for (std::size_t at = 0; at < references.size(); ++at) {
    const double difference = static_cast<double>(predictions[at]) - static_cast<double>(references[at]);
    sum += difference * difference;
  }
  return detail::ratio(sum, static_cast<double>(references.size()));
}

ATTUNE_INLINE ConfusionMatrix confusion_matrix(std::span<const std::int32_t> predictions,
                                               std::span<const std::int32_t> references,
                                               std::int64_t num_classes) {
  detail::check_lengths("confusion_matrix", predictions.size(), references.size());
  constexpr std::int64_t most_classes = 1 << 14;
  if (num_classes < 0 || num_classes > most_classes)
    throw ConfigError("confusion_matrix: num_classes must lie between 0 and " + std::to_string(most_classes) +
                      ", found " + std::to_string(num_classes));
  ConfusionMatrix matrix{num_classes,
                         std::vector<std::int64_t>(static_cast<std::size_t>(num_classes * num_classes))};
  detail::each_class_pair(predictions, references, [&](std::int32_t prediction, std::int32_t reference) {
    for (const std::int32_t label : {prediction, reference})
      if (label < 0 || label >= num_classes)
        throw ConfigError("confusion_matrix: expected classes from 0 to " + std::to_string(num_classes - 1) +
                          ", found " + std::to_string(label));
    ++matrix.counts[static_cast<std::size_t>(reference * num_classes + prediction)];
  });
  return matrix;
}

}  // namespace attune
