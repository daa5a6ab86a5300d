#pragma once

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <string>

#include <attune/core/batch.hpp>
#include <attune/data/samplers.hpp>
#include <attune/data/split.hpp>

namespace attune {

ATTUNE_INLINE Split random_split(std::int64_t size, double validation_fraction, std::uint64_t seed) {
  if (!(validation_fraction > 0 && validation_fraction < 1))
    throw ConfigError("random_split: validation_fraction must lie between 0 and 1, found " +
                      std::to_string(validation_fraction));
  if (size < 2) throw ConfigError("random_split: expected at least 2 rows, found " + std::to_string(size));
  const auto held = std::clamp(std::llround(static_cast<double>(size) * validation_fraction), 1LL,
                               static_cast<long long>(size) - 1);
  const std::vector<std::int64_t> order = detail::permutation(size, seed, /*stream=*/0);
  Split split;
  split.validation.assign(order.begin(), order.begin() + held);
  split.train.assign(order.begin() + held, order.end());
  std::sort(split.validation.begin(), split.validation.end());
  std::sort(split.train.begin(), split.train.end());
  return split;
}

ATTUNE_INLINE Split every_kth_split(std::int64_t size, std::int64_t k) {
  if (k < 2 || k > size)
    throw ConfigError("every_kth_split: k must lie between 2 and the number of rows, " +
                      std::to_string(size) + ", found " + std::to_string(k));
  Split split;
  for (std::int64_t row = 0; row < size; ++row)
    (row % k == k - 1 ? split.validation : split.train).push_back(row);
  return split;
}

ATTUNE_INLINE std::vector<float> balanced_class_weights(std::span<const std::int32_t> labels,
                                                        std::int64_t num_classes) {
  if (num_classes < 1)
    throw ConfigError("balanced_class_weights: num_classes must be at least 1, found " +
                      std::to_string(num_classes));
  std::vector<std::int64_t> counts(static_cast<std::size_t>(num_classes));
  std::int64_t rows = 0;
  for (const std::int32_t label : labels) {
    if (label == ignore_index) continue;
    if (label < 0 || label >= num_classes)
      throw ConfigError("balanced_class_weights: expected labels from 0 to " +
                        std::to_string(num_classes - 1) + ", found " + std::to_string(label));
    ++counts[static_cast<std::size_t>(label)];
    ++rows;
  }
  std::vector<float> weights;
  for (std::size_t label = 0; label < counts.size(); ++label) {
    if (counts[label] == 0)
      throw ConfigError("balanced_class_weights: class " + std::to_string(label) + " has no rows");
    weights.push_back(static_cast<float>(
        static_cast<double>(rows) / (static_cast<double>(num_classes) * static_cast<double>(counts[label]))));
  }
  return weights;
}

}  // namespace attune
