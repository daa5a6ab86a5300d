#pragma once

#include <span>

#include <attune/backend/view.hpp>
#include <attune/core/dtype.hpp>

namespace attune::cuda {

// Bodies: kernels/layout.cuh.
template <class T>
struct Layout {
  using W = Wide<T>;

  void copy_strided(StridedView<const T> from, StridedView<T> to, bool accumulate) const;
  void cast(std::span<const T> from, std::span<W> to) const;
  void cast(std::span<const OtherWide<T>> from, std::span<T> to) const;
  void fill(std::span<T> y, double value) const;
  void gather_rows(MatrixView<const T> table, std::span<const std::int32_t> ids, MatrixView<T> rows,
                   bool accumulate) const;
  void scatter_add_rows(MatrixView<const T> rows, std::span<const std::int32_t> ids, MatrixView<W> sums,
                        bool accumulate) const;
};

}  // namespace attune::cuda
