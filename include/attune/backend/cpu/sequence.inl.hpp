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
  const auto angles = [&](std::int32_t position, float* cosine, float* sine) {
    for (std::int64_t d = 0; d < half; ++d) {
      // Reduced in double: a float product would be off by thousands of roundings at far positions.
      constexpr double turn = 2.0 * std::numbers::pi;
      const double angle = static_cast<double>(position) * static_cast<double>(frequencies[d]);
      const auto reduced = static_cast<float>(angle - turn * std::nearbyint(angle / turn));
      cosine[d] = std::cos(reduced);
      sine[d] = inverse ? -std::sin(reduced) : std::sin(reduced);
    }
  };
  // Where sequences share their positions, the angles of each are computed once.
  std::int64_t end = 0;
  for (const std::int32_t position : positions)
    end = position < 0 ? x.rows : std::max(end, std::int64_t{position} + 1);
  Scratch outer;
  float* const table = 2 * end <= x.rows ? outer.take<float>(end * 2 * half) : nullptr;
  if (table != nullptr)
    parallel_chunks(end, rows_per_task(16 * half), [&](std::int64_t first, std::int64_t last) {
      for (std::int64_t at = first; at < last; ++at)
        angles(static_cast<std::int32_t>(at), table + at * 2 * half, table + (at * 2 + 1) * half);
    });
  parallel_chunks(x.rows, rows_per_task(heads * half * 2), [&](std::int64_t begin, std::int64_t last) {
    Scratch scratch;
    float* const own = scratch.take<float>(2 * half);
    for (std::int64_t row = begin; row < last; ++row) {
      const float* const cosine = table != nullptr ? table + positions[row] * 2 * half : own;
      if (table == nullptr) angles(positions[row], own, own + half);
      kernels().elements<T>().rotate(x.row(row), cosine, cosine + half, half, heads, y.row(row));
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
