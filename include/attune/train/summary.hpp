#pragma once

#include <algorithm>
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/core/inline.hpp>
#include <attune/data/data_loader.hpp>
#include <attune/tensor/parameter_list.hpp>

namespace attune {

/// A model in numbers, with the memory that training it with AdamW takes.
struct ModelSummary {
  std::string architecture;
  std::int64_t parameters = 0;
  std::int64_t trainable = 0;
  struct Part {
    std::string name;  ///< the first parts of the parameters' names
    std::int64_t parameters = 0, trainable = 0;
  };
  std::vector<Part> parts{};

  std::int64_t tokens = 0;        ///< of the batch that the forecast is for
  std::int64_t weight_bytes = 0;  ///< masters, and rounded copies
  std::int64_t gradient_bytes = 0;
  std::int64_t optimizer_bytes = 0;   ///< two moments
  std::int64_t activation_bytes = 0;  ///< kept for backward, and backward's own at its worst
  std::int64_t total_bytes() const {
    return weight_bytes + gradient_bytes + optimizer_bytes + activation_bytes;
  }

  /// A small table.
  std::string to_string() const;
};

namespace detail {
/// The name of the part that a parameter is counted in: up to the layer's number, or the first two words.
std::string summary_part(const std::string& parameter);
}  // namespace detail

/// Summarises a model with a forecast for batches of `tokens` tokens in `sequences` sequences.
template <class Model>
ModelSummary summarize(const Model& model, std::int64_t tokens, std::int64_t sequences) {
  ModelSummary summary;
  summary.architecture = Model::architecture();
  summary.tokens = tokens;
  for (const auto& parameter : model.parameters()) {
    const std::int64_t size = parameter.size(), trains = parameter.trainable() ? size : 0;
    summary.parameters += size;
    summary.trainable += trains;
    const std::string part = detail::summary_part(parameter.name);
    if (summary.parts.empty() || summary.parts.back().name != part) summary.parts.push_back({part});
    summary.parts.back().parameters += size;
    summary.parts.back().trainable += trains;
    if (const auto& blocks = parameter.state->blocks) {
      summary.weight_bytes += size / block_elements * block_bytes(*blocks);
      continue;
    }
    const bool rounded = parameter.state->dtype == DType::bf16;
    summary.weight_bytes += (rounded ? 2 * size : 0) + (parameter.state->master ? 4 * size : 0);
  }
  summary.gradient_bytes = 4 * summary.trainable;
  summary.optimizer_bytes = 8 * summary.trainable;
  summary.activation_bytes = model.activation_bytes(tokens, sequences);
  return summary;
}

/// The same for the longest batch of `batch_size` rows that the dataset can give. Throws ConfigError for a
/// batch_size below 1.
template <class Model, Dataset D>
ModelSummary summarize(const Model& model, const D& dataset, std::int64_t batch_size) {
  if (batch_size < 1)
    throw ConfigError("summarize: batch_size must be at least 1, found " + std::to_string(batch_size));
  std::vector<std::int32_t> lengths = dataset.lengths();
  const auto rows = std::min(batch_size, static_cast<std::int64_t>(lengths.size()));
  std::partial_sort(lengths.begin(), lengths.begin() + rows, lengths.end(), std::greater<>());
  std::int64_t tokens = 0;
  for (std::int64_t i = 0; i < rows; ++i) tokens += lengths[static_cast<std::size_t>(i)];
  return summarize(model, tokens, rows);
}

}  // namespace attune

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/train/summary.inl.hpp>
#endif
