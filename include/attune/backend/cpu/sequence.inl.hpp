#pragma once

#include <algorithm>
#include <cmath>
#include <numbers>

#include <attune/backend/cpu/row.hpp>
#include <attune/backend/cpu/scratch.hpp>
#include <attune/backend/cpu/sequence.hpp>

namespace attune::cpu {

template <class T>
void Sequence<T>::rope(MatrixView<const T> x, std::span<const std::int32_t> positions,
                       std::span<const Wide<T>> frequencies, std::int64_t heads, bool inverse,
                       MatrixView<T> y) const {
  const auto half = static_cast<std::int64_t>(frequencies.size());
  parallel_chunks(x.rows, rows_per_task(heads * half * 2), [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    float* const cosine = scratch.take<float>(half);
    float* const sine = scratch.take<float>(half);
    for (std::int64_t row = begin; row < end; ++row) {
      for (std::int64_t d = 0; d < half; ++d) {
        // Reduced in double: a float product would be off by thousands of roundings at far positions.
        constexpr double turn = 2.0 * std::numbers::pi;
        const double angle = static_cast<double>(positions[row]) * static_cast<double>(frequencies[d]);
        const auto reduced = static_cast<float>(angle - turn * std::nearbyint(angle / turn));
        cosine[d] = std::cos(reduced);
        sine[d] = inverse ? -std::sin(reduced) : std::sin(reduced);
      }
      kernels().elements<T>().rotate(x.row(row), cosine, sine, half, heads, y.row(row));
    }
  });
}

template <class T>
void Sequence<T>::mean_rows(MatrixView<const T> x, SegmentsView segments, MatrixView<T> y) const {
  parallel_for(segments.count, [&](std::int64_t b) {
    Scratch scratch;
    const std::int64_t begin = segments.offsets[b], end = segments.offsets[b + 1];
    float* const sums = scratch.take<float>(y.cols);
    std::fill_n(sums, y.cols, 0.0f);
    for (std::int64_t row = begin; row < end; ++row)
      for (std::int64_t c = 0; c < y.cols; ++c) sums[c] += float(x.row(row)[c]);
    const float count = static_cast<float>(std::max<std::int64_t>(1, end - begin));
    for (std::int64_t c = 0; c < y.cols; ++c) sums[c] /= count;
    narrow(sums, y.row(b), y.cols);
  });
}

template <class T>
void Sequence<T>::mean_rows_backward(MatrixView<const T> dy, SegmentsView segments, MatrixView<T> dx) const {
  parallel_for(segments.count, [&](std::int64_t b) {
    const std::int64_t begin = segments.offsets[b], end = segments.offsets[b + 1];
    if (begin == end) return;
    Scratch scratch;
    float* const row = scratch.take<float>(dx.cols);
    const float count = static_cast<float>(end - begin);
    for (std::int64_t c = 0; c < dx.cols; ++c) row[c] = float(dy.row(b)[c]) / count;
    for (std::int64_t r = begin; r < end; ++r) narrow(row, dx.row(r), dx.cols);
  });
}

}  // namespace attune::cpu
