#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include <attune/core/error.hpp>

namespace attune {

/// Where each sequence of a packed batch begins: the "cu_seqlens" of variable-length attention.
///
/// Activations are matrices [N tokens, features]; sequence `b` owns the rows offsets()[b] .. offsets()[b+1].
/// Each token also has a position: its place in the sequence, or its column number when the batch came
/// padded.
class Segments {
 public:
  Segments() = default;

  /// Sequences of the given lengths with positions 0, 1, 2, ... in each. Throws ShapeError for a negative
  /// length.
  static Segments from_lengths(std::span<const std::int32_t> lengths) {
    Segments segments;
    for (const std::int32_t length : lengths) segments.append(length);
    return segments;
  }

  /// Adds a sequence of `length` tokens at positions 0 .. length-1.
  void append(std::int32_t length) {
    if (length < 0)
      throw ShapeError("Segments: a length must not be negative, found " + std::to_string(length));
    for (std::int32_t position = 0; position < length; ++position) positions_.push_back(position);
    offsets_.push_back(offsets_.back() + length);
    max_length_ = std::max(max_length_, length);
  }

  /// Adds a sequence whose tokens stand at the given positions.
  void append(std::span<const std::int32_t> positions) {
    const auto length = static_cast<std::int32_t>(positions.size());
    positions_.insert(positions_.end(), positions.begin(), positions.end());
    offsets_.push_back(offsets_.back() + length);
    max_length_ = std::max(max_length_, length);
  }

  std::int64_t count() const { return static_cast<std::int64_t>(offsets_.size()) - 1; }
  std::int64_t tokens() const { return offsets_.back(); }
  std::int32_t max_length() const { return max_length_; }
  std::int32_t length(std::int64_t sequence) const {
    return offsets_[static_cast<std::size_t>(sequence) + 1] - offsets_[static_cast<std::size_t>(sequence)];
  }
  /// B + 1 row numbers, the first 0 and the last N.
  std::span<const std::int32_t> offsets() const { return offsets_; }
  /// N positions.
  std::span<const std::int32_t> positions() const { return positions_; }

  friend bool operator==(const Segments&, const Segments&) = default;

 private:
  std::vector<std::int32_t> offsets_{0};
  std::vector<std::int32_t> positions_;
  std::int32_t max_length_ = 0;
};

}  // namespace attune
