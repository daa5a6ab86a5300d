#pragma once

#include <attune/backend/cpu/activation.hpp>
#include <attune/backend/cpu/column_sums.hpp>
#include <attune/backend/cpu/gemm.hpp>
#include <attune/backend/cpu/kernels.hpp>
#include <attune/backend/cpu/matmul.hpp>
#include <attune/backend/cpu/row.hpp>
#include <attune/backend/cpu/scratch.hpp>

namespace attune::cpu {

template <class T>
void Matmul<T>::matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c,
                       MatmulOptions options) const {
  gemm(a, b, c, options);
}

template <class T>
void Matmul<T>::matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<OtherWide<T>> c,
                       MatmulOptions options) const {
  if constexpr (!std::is_same_v<T, W>) gemm(a, b, c, options);
}

template <class T, class Weight>
void linear_with(MatrixView<const T> x, const Weight& weight, std::span<const T> bias, Unary activation,
                 MatrixView<T> pre_activation, MatrixView<T> y) {
  GemmEpilogue<T> epilogue;
  epilogue.bias = bias.empty() ? nullptr : bias.data();
  epilogue.activation = activation;
  epilogue.pre_activation = pre_activation;
  MatmulOptions options;
  options.transpose_b = true;
  gemm(x, weight, y, options, epilogue);
}

template <class T>
void Matmul<T>::linear(MatrixView<const T> x, MatrixView<const T> weight, std::span<const T> bias,
                       Unary activation, MatrixView<T> pre_activation, MatrixView<T> y) const {
  linear_with(x, weight, bias, activation, pre_activation, y);
}

template <class T>
void Matmul<T>::linear(MatrixView<const T> x, BlockView weight, std::span<const T> bias, Unary activation,
                       MatrixView<T> pre_activation, MatrixView<T> y) const {
  linear_with(x, weight, bias, activation, pre_activation, y);
}

template <class T>
void Matmul<T>::matmul(MatrixView<const T> a, BlockView b, MatrixView<T> c, MatmulOptions options) const {
  gemm(a, b, c, options);
}

template <class T>
void Matmul<T>::linear_activation_backward(Unary activation, MatrixView<const T> saved,
                                           MatrixView<const T> dy, MatrixView<T> dpre, std::span<W> bias_grad,
                                           bool accumulate) const {
  const std::int64_t n = dy.cols;
  column_sums<1>(dy.rows, n, {bias_grad}, accumulate,
                 [&](std::int64_t begin, std::int64_t end, const std::array<float*, 1>& sums) {
                   const RowKernels& rows = kernels().rows;
                   Scratch scratch;
                   float* const saved_buffer = scratch.take<float>(n);
                   float* const buffer = scratch.take<float>(n);
                   for (std::int64_t row = begin; row < end; ++row) {
                     const float* const values = saves(activation) == Saves::nothing
                                                     ? nullptr
                                                     : as_floats(saved.row(row), n, saved_buffer);
                     float* const out = float_target(dpre.row(row), buffer);
                     activate_backward(activation, values, as_floats(dy.row(row), n, buffer), out, n);
                     rows.add(out, sums[0], n);
                     store(out, dpre.row(row), n);
                   }
                 });
}

template <class T>
void Matmul<T>::bias_backward(MatrixView<const T> dy, std::span<W> bias_grad, bool accumulate) const {
  column_sums<1>(dy.rows, dy.cols, {bias_grad}, accumulate,
                 [&](std::int64_t begin, std::int64_t end, const std::array<float*, 1>& sums) {
                   const RowKernels& rows = kernels().rows;
                   Scratch scratch;
                   float* const buffer = scratch.take<float>(dy.cols);
                   for (std::int64_t row = begin; row < end; ++row)
                     rows.add(as_floats(dy.row(row), dy.cols, buffer), sums[0], dy.cols);
                 });
}

}  // namespace attune::cpu
