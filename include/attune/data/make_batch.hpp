#pragma once

#include <cstdint>

#include <attune/core/batch.hpp>
#include <attune/text/encoding.hpp>

namespace attune {

/// Encoded rows as a model takes them, without labels.
inline Batch make_batch(const EncodedBatch& encoded) {
  Batch batch;
  batch.input_ids = encoded.ids;
  batch.token_type_ids = encoded.type_ids;
  for (std::int64_t row = 0; row < encoded.size(); ++row)
    batch.segments.append(static_cast<std::int32_t>(encoded.row(row).size()));
  return batch;
}

}  // namespace attune
