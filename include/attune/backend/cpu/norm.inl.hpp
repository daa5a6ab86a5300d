#pragma once

#include <algorithm>
#include <cmath>

#include <attune/backend/cpu/activation.hpp>
#include <attune/backend/cpu/column_sums.hpp>
#include <attune/backend/cpu/dropout.hpp>
#include <attune/backend/cpu/kernels.hpp>
#include <attune/backend/cpu/norm.hpp>
#include <attune/backend/cpu/row.hpp>
#include <attune/backend/cpu/scratch.hpp>

namespace attune::cpu {

template <class T>
void Norm<T>::layer_norm(MatrixView<const T> x, MatrixView<const T> residual, DropoutView dropout,
                         std::span<const T> weight, std::span<const T> bias, float eps, MatrixView<T> s,
                         MatrixView<T> y, std::span<W> mean, std::span<W> rstd) const {
  const std::int64_t n = x.cols;
  parallel_chunks(x.rows, rows_per_task(n), [&](std::int64_t begin, std::int64_t end) {
    const ElementKernels<T>& elements = kernels().elements<T>();
    Scratch scratch;
    float* const factors = dropout ? scratch.take<float>(n) : nullptr;
    NormRow<T> row;
    row.weight = as_floats(weight.data(), n, scratch.take<float>(n));
    row.bias = bias.empty() ? nullptr : as_floats(bias.data(), n, scratch.take<float>(n));
    row.factors = factors;
    row.eps = eps;
    row.buffer = scratch.take<float>(n);
    for (std::int64_t i = begin; i < end; ++i) {
      row.x = x.row(i);
      if (residual) row.residual = residual.row(i);
      if (dropout) dropout_row(dropout, i, n, factors);
      if (s) row.s = s.row(i);
      row.y = y.row(i);
      elements.norm(row, n);
      mean[i] = row.mean;
      rstd[i] = row.rstd;
    }
  });
}

template <class T>
void Norm<T>::layer_norm_backward(MatrixView<const T> dy, MatrixView<const T> s, std::span<const T> weight,
                                  std::span<const W> mean, std::span<const W> rstd, MatrixView<T> ds,
                                  std::span<W> weight_grad, std::span<W> bias_grad, bool accumulate,
                                  DropoutView dropout, MatrixView<T> dx) const {
  const std::int64_t n = dy.cols;
  column_sums<2>(dy.rows, n, {weight_grad, bias_grad}, accumulate,
                 [&](std::int64_t begin, std::int64_t end, const std::array<float*, 2>& sums) {
                   const ElementKernels<T>& elements = kernels().elements<T>();
                   Scratch scratch;
                   float* const factors = dx ? scratch.take<float>(n) : nullptr;
                   NormBackwardRow<T> row;
                   row.weight = as_floats(weight.data(), n, scratch.take<float>(n));
                   row.factors = factors;
                   row.weight_sum = weight_grad.empty() ? nullptr : sums[0];
                   row.bias_sum = bias_grad.empty() ? nullptr : sums[1];
                   for (std::int64_t i = begin; i < end; ++i) {
                     row.dy = dy.row(i);
                     row.s = s.row(i);
                     row.mean = mean[i];
                     row.rstd = rstd[i];
                     row.ds = ds.row(i);
                     if (dx) {
                       dropout_row(dropout, i, n, factors);
                       row.dx = dx.row(i);
                     }
                     elements.norm_backward(row, n);
                   }
                 });
}

template <class T>
void Norm<T>::rms_norm(MatrixView<const T> x, MatrixView<const T> residual, std::span<const T> weight,
                       float eps, MatrixView<T> s, MatrixView<T> y, std::span<W> rstd) const {
  const std::int64_t n = x.cols;
  parallel_chunks(x.rows, rows_per_task(n), [&](std::int64_t begin, std::int64_t end) {
    const ElementKernels<T>& elements = kernels().elements<T>();
    Scratch scratch;
    NormRow<T> row;
    row.weight = as_floats(weight.data(), n, scratch.take<float>(n));
    row.eps = eps;
    row.centered = false;
    row.buffer = scratch.take<float>(n);
    for (std::int64_t i = begin; i < end; ++i) {
      row.x = x.row(i);
      if (residual) row.residual = residual.row(i);
      if (s) row.s = s.row(i);
      row.y = y.row(i);
      elements.norm(row, n);
      rstd[i] = row.rstd;
    }
  });
}

template <class T>
void Norm<T>::rms_norm_backward(MatrixView<const T> dy, MatrixView<const T> s, std::span<const T> weight,
                                std::span<const W> rstd, MatrixView<T> ds, std::span<W> weight_grad,
                                bool accumulate) const {
  const std::int64_t n = dy.cols;
  column_sums<1>(dy.rows, n, {weight_grad}, accumulate,
                 [&](std::int64_t begin, std::int64_t end, const std::array<float*, 1>& sums) {
                   const ElementKernels<T>& elements = kernels().elements<T>();
                   Scratch scratch;
                   NormBackwardRow<T> row;
                   row.weight = as_floats(weight.data(), n, scratch.take<float>(n));
                   row.centered = false;
                   row.weight_sum = weight_grad.empty() ? nullptr : sums[0];
                   for (std::int64_t i = begin; i < end; ++i) {
                     row.dy = dy.row(i);
                     row.s = s.row(i);
                     row.rstd = rstd[i];
                     row.ds = ds.row(i);
                     elements.norm_backward(row, n);
                   }
                 });
}

template <class T>
void Norm<T>::l2_normalize(MatrixView<const T> x, float eps, MatrixView<T> y, std::span<W> norms) const {
  const std::int64_t n = x.cols;
  parallel_chunks(x.rows, rows_per_task(n), [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    float* const buffer = scratch.take<float>(n);
    for (std::int64_t row = begin; row < end; ++row) {
      const float* const in = as_floats(x.row(row), n, buffer);
      const float norm = std::sqrt(lane_sum(n, [&](std::int64_t c) { return in[c] * in[c]; }));
      const float inverse = 1.0f / (norm < eps ? eps : norm);
      float* const out = float_target(y.row(row), buffer);
      for (std::int64_t c = 0; c < n; ++c) out[c] = in[c] * inverse;
      store(out, y.row(row), n);
      norms[row] = norm;
    }
  });
}

template <class T>
void Norm<T>::l2_normalize_backward(MatrixView<const T> dy, MatrixView<const T> y, std::span<const W> norms,
                                    float eps, MatrixView<T> dx) const {
  const std::int64_t n = dy.cols;
  parallel_chunks(dy.rows, rows_per_task(n), [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    float* const dy_buffer = scratch.take<float>(n);
    float* const y_buffer = scratch.take<float>(n);
    for (std::int64_t row = begin; row < end; ++row) {
      const float* const d = as_floats(dy.row(row), n, dy_buffer);
      const float* const out = as_floats(y.row(row), n, y_buffer);
      float* const gradient = float_target(dx.row(row), dy_buffer);
      const bool clamped = norms[row] < eps;
      const float dot = clamped ? 0.0f : lane_sum(n, [&](std::int64_t c) { return d[c] * out[c]; });
      const float inverse = 1.0f / (clamped ? eps : norms[row]);
      for (std::int64_t c = 0; c < n; ++c) gradient[c] = (d[c] - out[c] * dot) * inverse;
      store(gradient, dx.row(row), n);
    }
  });
}

template <class T>
void Norm<T>::softmax(MatrixView<const T> x, MatrixView<T> y) const {
  parallel_chunks(x.rows, rows_per_task(x.cols), [&](std::int64_t begin, std::int64_t end) {
    const ElementKernels<T>& elements = kernels().elements<T>();
    for (std::int64_t row = begin; row < end; ++row) elements.softmax(x.row(row), y.row(row), x.cols);
  });
}

template <class T>
void Norm<T>::softmax_backward(MatrixView<const T> y, MatrixView<const T> dy, MatrixView<T> dx) const {
  const std::int64_t n = y.cols;
  parallel_chunks(y.rows, rows_per_task(n), [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    float* const y_buffer = scratch.take<float>(n);
    float* const dy_buffer = scratch.take<float>(n);
    for (std::int64_t row = begin; row < end; ++row) {
      const float* const p = as_floats(y.row(row), n, y_buffer);
      const float* const d = as_floats(dy.row(row), n, dy_buffer);
      const float dot = lane_sum(n, [&](std::int64_t c) { return p[c] * d[c]; });
      float* const gradient = float_target(dx.row(row), dy_buffer);
      for (std::int64_t c = 0; c < n; ++c) gradient[c] = p[c] * (d[c] - dot);
      store(gradient, dx.row(row), n);
    }
  });
}

}  // namespace attune::cpu
