#pragma once

#include <span>

#include <attune/backend/reference/common.hpp>

namespace attune::reference {

template <class T>
struct Reduce {
  void sum(StridedView<const T> x, StridedView<T> y, bool accumulate) const {
    // For each element of y (dimensions that are summed stand still), the sum over the summed dimensions.
    Shape kept = x.shape, summed = x.shape;
    for (int dim = 0; dim < x.shape.rank(); ++dim) (y.strides[dim] == 0 ? kept : summed)[dim] = 1;
    for_each_index(kept, [&](const Shape& at) {
      T& target = element(y, at);
      double total = accumulate ? double(target) : 0.0;
      for_each_index(summed, [&](const Shape& inner) {
        Shape index = at;
        for (int dim = 0; dim < index.rank(); ++dim) index[dim] += inner[dim];
        total += double(element(x, index));
      });
      target = T(total);
    });
  }

  void argmax_rows(MatrixView<const T> x, std::span<std::int32_t> indices) const {
    for (std::int64_t row = 0; row < x.rows; ++row) {
      std::int64_t best = 0;
      for (std::int64_t column = 1; column < x.cols; ++column)
        if (double(x.row(row)[column]) > double(x.row(row)[best])) best = column;
      indices[row] = static_cast<std::int32_t>(best);
    }
  }

  void total(std::span<const T> values, Wide<T>* total) const {
    double sum = 0.0;
    for (const T& value : values) sum += double(value);
    *total = Wide<T>(sum);
  }
};

}  // namespace attune::reference
