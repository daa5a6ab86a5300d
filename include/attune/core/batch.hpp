#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include <attune/core/error.hpp>
#include <attune/core/segments.hpp>

namespace attune {

/// The label of a token that the loss leaves out, as in PyTorch.
inline constexpr std::int32_t ignore_index = -100;

/// What a model is called with: packed token ids on the host, and labels when there are any.
struct Batch {
  std::vector<std::int32_t> input_ids;       ///< N
  std::vector<std::int32_t> token_type_ids;  ///< N, or empty for all zero
  Segments segments;                         ///< B sequences of N tokens
  /// Class numbers: B for sequence classification, N for token classification and masked or causal language
  /// models (ignore_index leaves a token out), empty when there are none.
  std::vector<std::int32_t> labels;
  /// Float targets, row-major [B, num_labels]: multi-label (0 or 1) and regression; empty otherwise.
  std::vector<float> targets;
  /// The dataset row of each sequence (B), for reports; may be empty.
  std::vector<std::int64_t> rows;

  std::int64_t size() const { return segments.count(); }
  std::int64_t tokens() const { return segments.tokens(); }

  /// Packs a padded [B, L] batch: tokens whose mask is 0 vanish, the others keep their column as their
  /// position. `token_type_ids` may be empty. Throws ShapeError unless every span has B * L elements.
  static Batch from_padded(std::int64_t batch_size, std::span<const std::int32_t> input_ids,
                           std::span<const std::int32_t> attention_mask,
                           std::span<const std::int32_t> token_type_ids = {}) {
    const auto total = static_cast<std::int64_t>(input_ids.size());
    if (batch_size < 0 || (batch_size == 0 ? total != 0 : total % batch_size != 0) ||
        attention_mask.size() != input_ids.size() ||
        (!token_type_ids.empty() && token_type_ids.size() != input_ids.size()))
      throw ShapeError("Batch::from_padded: input_ids, attention_mask and token_type_ids must each hold " +
                       std::to_string(batch_size) + " rows of one length, found " +
                       std::to_string(input_ids.size()) + ", " + std::to_string(attention_mask.size()) +
                       " and " + std::to_string(token_type_ids.size()) + " elements");
    Batch batch;
    const std::int64_t length = batch_size == 0 ? 0 : total / batch_size;
    std::vector<std::int32_t> positions;
    for (std::int64_t row = 0; row < batch_size; ++row) {
      positions.clear();
      for (std::int64_t column = 0; column < length; ++column) {
        const auto at = static_cast<std::size_t>(row * length + column);
        if (attention_mask[at] == 0) continue;
        batch.input_ids.push_back(input_ids[at]);
        if (!token_type_ids.empty()) batch.token_type_ids.push_back(token_type_ids[at]);
        positions.push_back(static_cast<std::int32_t>(column));
      }
      batch.segments.append(positions);
    }
    return batch;
  }
};

}  // namespace attune
