#pragma once

#include <cstdint>

#include <attune/backend/view.hpp>
#include <attune/core/inline.hpp>

namespace attune::cpu {

/// factors[c] = what dropout multiplies column c of the row with: 0 or dropout.scale().
void dropout_row(const DropoutView& dropout, std::int64_t row, std::int64_t cols, float* factors);

/// The fourth word of the counters of a head's weights.
inline std::uint32_t attention_stream(const DropoutView& dropout, std::int64_t head) {
  return (dropout.site << 16) | static_cast<std::uint32_t>(head + 1);
}
/// The same for the weights of a query row's head on `keys` keys whose positions are given.
/// `consecutive` tells that key_positions[j] = key_positions[0] + j, which is faster.
void attention_dropout_row(const DropoutView& dropout, std::int64_t query_row, std::int64_t head,
                           const std::int32_t* key_positions, std::int64_t keys, bool consecutive,
                           float* factors);

}  // namespace attune::cpu

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/backend/cpu/dropout.inl.hpp>
#endif
