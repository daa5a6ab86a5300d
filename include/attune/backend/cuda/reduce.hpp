#pragma once

#include <span>

#include <attune/backend/view.hpp>
#include <attune/core/dtype.hpp>

namespace attune::cuda {

// Bodies: kernels/reduce.cuh.
template <class T>
struct Reduce {
  void sum(StridedView<const T> x, StridedView<T> y, bool accumulate) const;
  void argmax_rows(MatrixView<const T> x, std::span<std::int32_t> indices) const;
  void total(std::span<const T> values, Wide<T>* total) const;
};

}  // namespace attune::cuda
