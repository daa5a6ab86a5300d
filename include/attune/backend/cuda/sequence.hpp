#pragma once

#include <span>

#include <attune/backend/view.hpp>
#include <attune/core/dtype.hpp>

namespace attune::cuda {

// Bodies: kernels/sequence.cuh.
template <class T>
struct Sequence {
  void rope(MatrixView<const T> x, std::span<const std::int32_t> positions,
            std::span<const Wide<T>> frequencies, std::int64_t heads, bool inverse, MatrixView<T> y) const;
  void mean_rows(MatrixView<const T> x, SegmentsView segments, MatrixView<T> y) const;
  void mean_rows_backward(MatrixView<const T> dy, SegmentsView segments, MatrixView<T> dx) const;
};

}  // namespace attune::cuda
