#pragma once

#include <algorithm>

#include <attune/backend/cpu/activation.hpp>
#include <attune/backend/cpu/column_sums.hpp>
#include <attune/backend/cpu/matmul.hpp>
#include <attune/backend/cpu/row.hpp>
#include <attune/backend/cpu/scratch.hpp>
#include <attune/backend/cpu/serial_gemm.hpp>

namespace attune::cpu {

/// An operand of gemm: op(view), rows x cols after a transposition.
template <class T>
struct Operand {
  MatrixView<const T> view;
  bool transposed = false;

  std::int64_t rows() const { return transposed ? view.cols : view.rows; }
  std::int64_t cols() const { return transposed ? view.rows : view.cols; }

  /// Rows begin .. end as floats.
  FloatOperand row_panel(std::int64_t begin, std::int64_t end, Scratch& scratch) const {
    if (transposed) return block(0, view.rows, begin, end, scratch);
    return block(begin, end, 0, view.cols, scratch);
  }
  FloatOperand column_panel(std::int64_t begin, std::int64_t end, Scratch& scratch) const {
    if (transposed) return block(begin, end, 0, view.cols, scratch);
    return block(0, view.rows, begin, end, scratch);
  }

 private:
  FloatOperand block(std::int64_t row_begin, std::int64_t row_end, std::int64_t col_begin,
                     std::int64_t col_end, Scratch& scratch) const {
    if constexpr (std::same_as<T, float>) {
      return {view.data + row_begin * view.stride + col_begin, view.stride, transposed};
    } else {
      const std::int64_t n = col_end - col_begin;
      float* const floats = scratch.take<float>((row_end - row_begin) * n);
      for (std::int64_t row = row_begin; row < row_end; ++row)
        widen(view.row(row) + col_begin, floats + (row - row_begin) * n, n);
      return {floats, n, transposed};
    }
  }
};

/// A tile of a product, rows row .. row + rows, columns col .. col + cols.
struct Tile {
  std::int64_t row, col, rows, cols;
  const float* data;  ///< [rows, cols], contiguous

  const float* values(std::int64_t r) const { return data + r * cols; }
};

/// Calls finish(tile) for every tile of op(a) op(b), on any thread. The tiles do not depend on the number of
/// threads, and each is summed over the whole depth by one of them.
template <class T, class F>
void gemm(const Operand<T>& a, const Operand<T>& b, const F& finish) {
  constexpr std::int64_t tile_rows = 128, tile_cols = 256;
  const std::int64_t rows = a.rows(), cols = b.cols(), depth = a.cols();
  const std::int64_t row_tiles = (rows + tile_rows - 1) / tile_rows,
                     col_tiles = (cols + tile_cols - 1) / tile_cols;
  parallel_for(row_tiles * col_tiles, [&](std::int64_t task) {
    Scratch scratch;
    Tile tile{};
    tile.row = task / col_tiles * tile_rows;
    tile.col = task % col_tiles * tile_cols;
    tile.rows = std::min(tile_rows, rows - tile.row);
    tile.cols = std::min(tile_cols, cols - tile.col);
    float* const product = scratch.take<float>(tile.rows * tile.cols);
    serial_gemm(tile.rows, tile.cols, depth, 1.0f, a.row_panel(tile.row, tile.row + tile.rows, scratch),
                b.column_panel(tile.col, tile.col + tile.cols, scratch), 0.0f, product, tile.cols);
    tile.data = product;
    finish(tile);
  });
}

/// c = alpha op(a) op(b) + beta c
template <class T, class C>
void batched_matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<C> c,
                    const MatmulOptions& options) {
  parallel_for(options.batch, [&](std::int64_t batch) {
    const auto shifted = [batch](auto view, std::int64_t stride) {
      if (batch > 0) view.data += batch * stride;
      return view;
    };
    const MatrixView<C> out = shifted(c, options.batch_stride_c);
    gemm(Operand<T>{shifted(a, options.batch_stride_a), options.transpose_a},
         Operand<T>{shifted(b, options.batch_stride_b), options.transpose_b}, [&](const Tile& tile) {
           for (std::int64_t r = 0; r < tile.rows; ++r) {
             const float* const product = tile.values(r);
             C* const target = out.row(tile.row + r) + tile.col;
             if (options.beta == 0.0f)
               for (std::int64_t i = 0; i < tile.cols; ++i) target[i] = C(options.alpha * product[i]);
             else
               for (std::int64_t i = 0; i < tile.cols; ++i)
                 target[i] = C(options.alpha * product[i] + options.beta * float(target[i]));
           }
         });
  });
}

template <class T>
void Matmul<T>::matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c,
                       MatmulOptions options) const {
  batched_matmul(a, b, c, options);
}

template <class T>
void Matmul<T>::matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<W> c,
                       MatmulOptions options) const requires(!std::same_as<T, Wide<T>>) {
  batched_matmul(a, b, c, options);
}

template <class T>
void Matmul<T>::linear(MatrixView<const T> x, MatrixView<const T> weight, std::span<const T> bias,
                       Unary activation, MatrixView<T> pre_activation, MatrixView<T> y) const {
  gemm(Operand<T>{x}, Operand<T>{weight, true}, [&](const Tile& tile) {
    Scratch scratch;
    float* const row_bias = scratch.take<float>(tile.cols);
    if (!bias.empty()) widen(bias.data() + tile.col, row_bias, tile.cols);
    float* const buffer = scratch.take<float>(tile.cols);
    for (std::int64_t r = 0; r < tile.rows; ++r) {
      const float* values = tile.values(r);
      T* const target = y.row(tile.row + r) + tile.col;
      float* const out = float_target(target, buffer);
      if (!bias.empty()) {
        for (std::int64_t i = 0; i < tile.cols; ++i) out[i] = values[i] + row_bias[i];
        values = out;
      }
      if (pre_activation) narrow(values, pre_activation.row(tile.row + r) + tile.col, tile.cols);
      activate(activation, values, out, tile.cols);
      store(out, target, tile.cols);
    }
  });
}

template <class T>
void Matmul<T>::linear_activation_backward(Unary activation, MatrixView<const T> saved,
                                           MatrixView<const T> dy, MatrixView<T> dpre, std::span<W> bias_grad,
                                           bool accumulate) const {
  const std::int64_t n = dy.cols;
  column_sums<1>(dy.rows, n, {bias_grad}, accumulate,
                 [&](std::int64_t begin, std::int64_t end, const std::array<float*, 1>& sums) {
                   Scratch scratch;
                   float* const saved_buffer = scratch.take<float>(n);
                   float* const buffer = scratch.take<float>(n);
                   for (std::int64_t row = begin; row < end; ++row) {
                     const float* const values = saves(activation) == Saves::nothing
                                                     ? nullptr
                                                     : as_floats(saved.row(row), n, saved_buffer);
                     float* const out = float_target(dpre.row(row), buffer);
                     activate_backward(activation, values, as_floats(dy.row(row), n, buffer), out, n);
                     for (std::int64_t c = 0; c < n; ++c) sums[0][c] += out[c];
                     store(out, dpre.row(row), n);
                   }
                 });
}

template <class T>
void Matmul<T>::bias_backward(MatrixView<const T> dy, std::span<W> bias_grad, bool accumulate) const {
  column_sums<1>(dy.rows, dy.cols, {bias_grad}, accumulate,
                 [&](std::int64_t begin, std::int64_t end, const std::array<float*, 1>& sums) {
                   for (std::int64_t row = begin; row < end; ++row)
                     for (std::int64_t c = 0; c < dy.cols; ++c) sums[0][c] += float(dy.row(row)[c]);
                 });
}

}  // namespace attune::cpu
