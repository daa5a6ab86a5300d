#pragma once

#include <algorithm>
#include <array>

#include <attune/backend/cpu/layout.hpp>
#include <attune/backend/cpu/row.hpp>

namespace attune::cpu {

template <class T>
void Layout<T>::copy_strided(StridedView<const T> from, StridedView<T> to, bool accumulate) const {
  // Dimensions that continue one another in both views are one; what remains is walked as rows.
  std::array<std::int64_t, Shape::max_rank> extent{}, from_stride{}, to_stride{};
  int rank = 0;
  for (int dim = 0; dim < from.shape.rank(); ++dim) {
    const std::int64_t size = from.shape[dim], source = from.strides[dim], target = to.strides[dim];
    if (size == 0) return;
    if (size == 1) continue;
    if (rank > 0 && from_stride[rank - 1] == source * size && to_stride[rank - 1] == target * size) {
      extent[rank - 1] *= size;
      from_stride[rank - 1] = source;
      to_stride[rank - 1] = target;
    } else {
      extent[rank] = size;
      from_stride[rank] = source;
      to_stride[rank] = target;
      ++rank;
    }
  }
  if (rank == 0) {
    extent[0] = 1;
    rank = 1;
  }
  const std::int64_t cols = extent[rank - 1], source_step = from_stride[rank - 1],
                     target_step = to_stride[rank - 1];
  std::int64_t rows = 1;
  for (int dim = 0; dim + 1 < rank; ++dim) rows *= extent[dim];

  const auto copy_row = [&](const T* source, T* target, std::int64_t n) {
    if (source_step == 1 && target_step == 1) {
      if (accumulate)
        kernels().elements<T>().add(source, target, n);
      else
        std::copy_n(source, n, target);
      return;
    }
    for (std::int64_t i = 0; i < n; ++i) {
      const T value = source[i * source_step];
      T& element = target[i * target_step];
      element = accumulate ? T(float(element) + float(value)) : value;
    }
  };
  if (rows == 1) {
    parallel_chunks(cols, task_size, [&](std::int64_t begin, std::int64_t end) {
      copy_row(from.data + begin * source_step, to.data + begin * target_step, end - begin);
    });
    return;
  }
  parallel_chunks(rows, rows_per_task(cols), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      std::int64_t rest = row, source = 0, target = 0;
      for (int dim = rank - 2; dim >= 0; --dim) {
        const std::int64_t at = rest % extent[dim];
        rest /= extent[dim];
        source += at * from_stride[dim];
        target += at * to_stride[dim];
      }
      copy_row(from.data + source, to.data + target, cols);
    }
  });
}

template <class T>
void Layout<T>::cast(std::span<const T> from, std::span<W> to) const {
  parallel_chunks(static_cast<std::int64_t>(from.size()), task_size,
                  [&](std::int64_t begin, std::int64_t end) {
                    widen(from.data() + begin, to.data() + begin, end - begin);
                  });
}

template <class T>
void Layout<T>::cast(std::span<const OtherWide<T>> from, std::span<T> to) const {
  if constexpr (!std::is_same_v<T, W>) {
    parallel_chunks(static_cast<std::int64_t>(from.size()), task_size,
                    [&](std::int64_t begin, std::int64_t end) {
                      narrow(from.data() + begin, to.data() + begin, end - begin);
                    });
  }
}

template <class T>
void Layout<T>::fill(std::span<T> y, double value) const {
  const T element = T(static_cast<float>(value));
  parallel_chunks(static_cast<std::int64_t>(y.size()), task_size, [&](std::int64_t begin, std::int64_t end) {
    std::fill(y.data() + begin, y.data() + end, element);
  });
}

template <class T>
void Layout<T>::gather_rows(MatrixView<const T> table, std::span<const std::int32_t> ids, MatrixView<T> rows,
                            bool accumulate) const {
  parallel_chunks(rows.rows, rows_per_task(rows.cols), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      if (accumulate)
        kernels().elements<T>().add(table.row(ids[row]), rows.row(row), rows.cols);
      else
        std::copy_n(table.row(ids[row]), rows.cols, rows.row(row));
    }
  });
}

template <class T>
void Layout<T>::scatter_add_rows(MatrixView<const T> rows, std::span<const std::int32_t> ids,
                                 MatrixView<W> sums, bool accumulate) const {
  if (!accumulate)
    parallel_chunks(sums.rows, rows_per_task(sums.cols), [&](std::int64_t begin, std::int64_t end) {
      for (std::int64_t row = begin; row < end; ++row) std::fill_n(sums.row(row), sums.cols, W(0));
    });
  // A task owns the ids of one residue and a block of columns, and adds their rows in the order of the rows.
  constexpr std::int64_t residues = 8, block = 256;
  const std::int64_t blocks = (sums.cols + block - 1) / block;
  parallel_for(residues * blocks, [&](std::int64_t task) {
    const std::int64_t begin = task / residues * block, n = std::min(block, sums.cols - begin);
    for (std::int64_t row = 0; row < rows.rows; ++row)
      if (ids[row] >= 0 && ids[row] % residues == task % residues)
        kernels().elements<T>().add_to_floats(rows.row(row) + begin, sums.row(ids[row]) + begin, n);
  });
}

}  // namespace attune::cpu
