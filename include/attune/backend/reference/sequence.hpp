#pragma once

#include <cmath>
#include <span>

#include <attune/backend/reference/common.hpp>

namespace attune::reference {

template <class T>
struct Sequence {
  /// Su et al., "RoFormer", arXiv:2104.09864, in the half-split layout: pairs (d, d + D/2).
  void rope(MatrixView<const T> x, std::span<const std::int32_t> positions,
            std::span<const Wide<T>> frequencies, std::int64_t heads, bool inverse, MatrixView<T> y) const {
    const auto half = static_cast<std::int64_t>(frequencies.size());
    for (std::int64_t row = 0; row < x.rows; ++row)
      for (std::int64_t h = 0; h < heads; ++h)
        for (std::int64_t d = 0; d < half; ++d) {
          const double angle = double(positions[row]) * double(frequencies[d]);
          const double cosine = std::cos(angle), sine = inverse ? -std::sin(angle) : std::sin(angle);
          const std::int64_t first = h * 2 * half + d, second = first + half;
          const double a = double(x.row(row)[first]), b = double(x.row(row)[second]);
          y.row(row)[first] = T(a * cosine - b * sine);
          y.row(row)[second] = T(b * cosine + a * sine);
        }
  }

  void mean_rows(MatrixView<const T> x, SegmentsView segments, MatrixView<T> y) const {
    for (std::int64_t b = 0; b < segments.count; ++b) {
      const std::int64_t begin = segments.offsets[b], end = segments.offsets[b + 1];
      for (std::int64_t c = 0; c < y.cols; ++c) {
        double sum = 0.0;
        for (std::int64_t row = begin; row < end; ++row) sum += double(x.row(row)[c]);
        y.row(b)[c] = T(begin == end ? 0.0 : sum / double(end - begin));
      }
    }
  }

  void mean_rows_backward(MatrixView<const T> dy, SegmentsView segments, MatrixView<T> dx) const {
    for (std::int64_t b = 0; b < segments.count; ++b) {
      const std::int64_t begin = segments.offsets[b], end = segments.offsets[b + 1];
      for (std::int64_t row = begin; row < end; ++row)
        for (std::int64_t c = 0; c < dx.cols; ++c)
          dx.row(row)[c] = T(double(dy.row(b)[c]) / double(end - begin));
    }
  }
};

}  // namespace attune::reference
