#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>

namespace attune {

/// Row numbers in rising order; give them to a dataset's select().
struct Split {
  std::vector<std::int64_t> train;
  std::vector<std::int64_t> validation;
};

/// Holds out a random part: round(size * validation_fraction) rows, at least one on each side.
/// Throws ConfigError unless 0 < validation_fraction < 1 and size >= 2.
Split random_split(std::int64_t size, double validation_fraction, std::uint64_t seed = 0);

/// Holds out every k-th row: the rows k-1, 2k-1, ... Throws ConfigError unless 2 <= k <= size.
Split every_kth_split(std::int64_t size, std::int64_t k);

/// Weights that make all classes count the same, scikit-learn's "balanced": rows / (classes * rows of the
/// class). Labels of ignore_index are passed over. Throws ConfigError for a label outside [0, num_classes)
/// and for a class without rows.
std::vector<float> balanced_class_weights(std::span<const std::int32_t> labels, std::int64_t num_classes);

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/data/split.inl.hpp>
#endif
