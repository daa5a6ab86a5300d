#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/train/metrics_options.hpp>

namespace attune::detail {

inline void check_lengths(const char* metric, std::size_t predictions, std::size_t references) {
  if (predictions != references)
    throw ShapeError(std::string(metric) + ": expected as many predictions as references, found " +
                     std::to_string(predictions) + " and " + std::to_string(references));
}

inline double ratio(double part, double whole) { return whole == 0 ? 0 : part / whole; }

/// What a class (or a label, or a type of span) got right.
struct ClassCounts {
  std::int64_t correct = 0;    // true positives
  std::int64_t predicted = 0;  // true and false positives
  std::int64_t actual = 0;     // true positives and false negatives

  Scores scores() const {
    const auto hits = static_cast<double>(correct);
    return {ratio(hits, static_cast<double>(predicted)), ratio(hits, static_cast<double>(actual)),
            ratio(2 * hits, static_cast<double>(predicted + actual))};
  }
};

/// Average::macro, micro or weighted over the classes.
inline Scores average_scores(const std::vector<ClassCounts>& classes, Average average) {
  Scores mean;
  ClassCounts all;
  double total_weight = 0;
  for (const ClassCounts& counts : classes) {
    all.correct += counts.correct;
    all.predicted += counts.predicted;
    all.actual += counts.actual;
    const double weight = average == Average::weighted ? static_cast<double>(counts.actual) : 1;
    const Scores own = counts.scores();
    mean.precision += weight * own.precision;
    mean.recall += weight * own.recall;
    mean.f1 += weight * own.f1;
    total_weight += weight;
  }
  if (average == Average::micro) return all.scores();
  return {ratio(mean.precision, total_weight), ratio(mean.recall, total_weight),
          ratio(mean.f1, total_weight)};
}

}  // namespace attune::detail
