#pragma once

#include <algorithm>
#include <array>

#include <attune/backend/cpu/reduce.hpp>
#include <attune/backend/cpu/row.hpp>
#include <attune/backend/cpu/scratch.hpp>

namespace attune::cpu {

/// Some dimensions of a view, walked in row-major order.
struct Axes {
  std::array<std::int64_t, Shape::max_rank> extent{}, x_stride{}, y_stride{};
  int rank = 0;

  std::int64_t size() const {
    std::int64_t product = 1;
    for (int dim = 0; dim < rank; ++dim) product *= extent[dim];
    return product;
  }
  void offsets(std::int64_t index, std::int64_t& x, std::int64_t& y) const {
    x = y = 0;
    for (int dim = rank - 1; dim >= 0; --dim) {
      const std::int64_t at = index % extent[dim];
      index /= extent[dim];
      x += at * x_stride[dim];
      y += at * y_stride[dim];
    }
  }
  void push(std::int64_t size, std::int64_t x, std::int64_t y) {
    extent[rank] = size;
    x_stride[rank] = x;
    y_stride[rank] = y;
    ++rank;
  }
};

template <class T>
void Reduce<T>::sum(StridedView<const T> x, StridedView<T> y, bool accumulate) const {
  // y's elements in tiles along its innermost dimension, and for each tile the summed dimensions in chunks:
  // so that both column sums and sums of everything are many tasks, in cuts that depend on the shape alone.
  constexpr std::int64_t tile = 64, chunk = 4096;
  Axes outer, summed;
  std::int64_t inner = 1, inner_x = 0, inner_y = 0;
  for (int dim = 0; dim < x.shape.rank(); ++dim) {
    const bool kept = y.strides[dim] != 0;
    if (kept && dim == x.shape.rank() - 1) {
      inner = x.shape[dim];
      inner_x = x.strides[dim];
      inner_y = y.strides[dim];
    } else {
      (kept ? outer : summed).push(x.shape[dim], x.strides[dim], y.strides[dim]);
    }
  }
  const std::int64_t count = summed.size(), tiles = (inner + tile - 1) / tile, rows = outer.size();
  const std::int64_t chunks = std::max<std::int64_t>(1, (count + chunk - 1) / chunk);
  if (rows == 0 || inner == 0) return;

  Scratch scratch;
  auto* const partial = scratch.take<double>(rows * tiles * tile * chunks);
  const auto for_each_tile = [&](std::int64_t at, const auto& f) {
    std::int64_t x_offset, y_offset;
    outer.offsets(at / tiles, x_offset, y_offset);
    const std::int64_t begin = at % tiles * tile;
    f(x_offset + begin * inner_x, y_offset + begin * inner_y, std::min(tile, inner - begin));
  };
  const std::int64_t work = std::min(count, chunk) * std::min(tile, inner);
  const std::int64_t grain = std::max<std::int64_t>(1, task_size / std::max<std::int64_t>(1, work));
  parallel_chunks(rows * tiles * chunks, grain, [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t task = first; task < last; ++task)
      for_each_tile(task / chunks, [&](std::int64_t x_begin, std::int64_t, std::int64_t n) {
        double* const sums = partial + task * tile;
        std::fill_n(sums, tile, 0.0);
        const std::int64_t begin = task % chunks * chunk, end = std::min(count, begin + chunk);
        for (std::int64_t index = begin; index < end; ++index) {
          std::int64_t offset, unused;
          summed.offsets(index, offset, unused);
          const T* const row = x.data + x_begin + offset;
          for (std::int64_t i = 0; i < n; ++i) sums[i] += static_cast<double>(float(row[i * inner_x]));
        }
      });
  });
  parallel_chunks(rows * tiles, rows_per_task(tile * chunks), [&](std::int64_t first, std::int64_t last) {
    for (std::int64_t at = first; at < last; ++at)
      for_each_tile(at, [&](std::int64_t, std::int64_t y_begin, std::int64_t n) {
        for (std::int64_t i = 0; i < n; ++i) {
          double sum = 0.0;
          for (std::int64_t c = 0; c < chunks; ++c) sum += partial[(at * chunks + c) * tile + i];
          T& target = y.data[y_begin + i * inner_y];
          target = T(static_cast<float>(accumulate ? static_cast<double>(float(target)) + sum : sum));
        }
      });
  });
}

template <class T>
void Reduce<T>::argmax_rows(MatrixView<const T> x, std::span<std::int32_t> indices) const {
  parallel_chunks(x.rows, rows_per_task(x.cols), [&](std::int64_t begin, std::int64_t end) {
    for (std::int64_t row = begin; row < end; ++row) {
      const T* const values = x.row(row);
      std::int64_t best = 0;
      for (std::int64_t c = 1; c < x.cols; ++c)
        if (float(values[c]) > float(values[best])) best = c;
      indices[row] = static_cast<std::int32_t>(best);
    }
  });
}

template <class T>
void Reduce<T>::total(std::span<const T> values, Wide<T>* total) const {
  const auto count = static_cast<std::int64_t>(values.size());
  Scratch scratch;
  const std::int64_t chunks = (count + task_size - 1) / task_size;
  auto* const partial = scratch.take<double>(chunks);
  parallel_chunks(count, task_size, [&](std::int64_t begin, std::int64_t end) {
    double sums[4] = {};
    for (std::int64_t i = begin; i < end; ++i) sums[i % 4] += static_cast<double>(float(values[i]));
    partial[begin / task_size] = (sums[0] + sums[1]) + (sums[2] + sums[3]);
  });
  double sum = 0.0;
  for (std::int64_t chunk = 0; chunk < chunks; ++chunk) sum += partial[chunk];
  *total = static_cast<float>(sum);
}

}  // namespace attune::cpu
