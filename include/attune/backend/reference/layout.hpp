#pragma once

#include <concepts>
#include <span>

#include <attune/backend/reference/common.hpp>

namespace attune::reference {

template <class T>
struct Layout {
  using W = Wide<T>;

  void copy_strided(StridedView<const T> from, StridedView<T> to, bool accumulate) const {
    for_each_index(from.shape, [&](const Shape& index) {
      T& target = element(to, index);
      target = accumulate ? T(double(target) + double(element(from, index))) : element(from, index);
    });
  }

  void cast(std::span<const T> from, std::span<W> to) const {
    for (std::size_t i = 0; i < from.size(); ++i) to[i] = W(from[i]);
  }
  void cast(std::span<const W> from, std::span<T> to) const requires(!std::same_as<T, Wide<T>>) {
    for (std::size_t i = 0; i < from.size(); ++i) to[i] = T(from[i]);
  }

  void fill(std::span<T> y, double value) const {
    for (T& element : y) element = T(value);
  }

  void gather_rows(MatrixView<const T> table, std::span<const std::int32_t> ids, MatrixView<T> rows,
                   bool accumulate) const {
    for (std::int64_t r = 0; r < rows.rows; ++r)
      for (std::int64_t c = 0; c < rows.cols; ++c) {
        T& target = rows.row(r)[c];
        const T value = table.row(ids[r])[c];
        target = accumulate ? T(double(target) + double(value)) : value;
      }
  }

  void scatter_add_rows(MatrixView<const T> rows, std::span<const std::int32_t> ids, MatrixView<W> sums,
                        bool accumulate) const {
    for (std::int64_t v = 0; v < sums.rows; ++v)
      for (std::int64_t c = 0; c < sums.cols; ++c) {
        double sum = accumulate ? double(sums.row(v)[c]) : 0.0;
        for (std::int64_t r = 0; r < rows.rows; ++r)
          if (ids[r] == v) sum += double(rows.row(r)[c]);
        sums.row(v)[c] = W(sum);
      }
  }
};

}  // namespace attune::reference
