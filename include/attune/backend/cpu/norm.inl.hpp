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

/// sum = residual + x, rounded to T as it is stored, since the backward reads it so; kept in floats.
template <class T>
void add_residual(const T* residual, const T* x, const float* factors, T* stored, float* sum,
                  std::int64_t n) {
  if (factors)
    for (std::int64_t c = 0; c < n; ++c)
      sum[c] = float(T(float(residual[c]) + (factors[c] == 0.0f ? 0.0f : float(x[c]) * factors[c])));
  else
    for (std::int64_t c = 0; c < n; ++c) sum[c] = float(T(float(residual[c]) + float(x[c])));
  if (stored) narrow(sum, stored, n);
}

template <class T>
void Norm<T>::layer_norm(MatrixView<const T> x, MatrixView<const T> residual, DropoutView dropout,
                         std::span<const T> weight, std::span<const T> bias, float eps, MatrixView<T> s,
                         MatrixView<T> y, std::span<W> mean, std::span<W> rstd) const {
  const std::int64_t n = x.cols;
  parallel_chunks(x.rows, rows_per_task(n), [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    const float* const scale = as_floats(weight.data(), n, scratch.take<float>(n));
    const float* const shift = bias.empty() ? nullptr : as_floats(bias.data(), n, scratch.take<float>(n));
    float* const factors = dropout ? scratch.take<float>(n) : nullptr;
    float* const sum = scratch.take<float>(n);
    float* const buffer = scratch.take<float>(n);
    for (std::int64_t row = begin; row < end; ++row) {
      const float* in;
      if (residual) {
        if (dropout) dropout_row(dropout, row, n, factors);
        add_residual(residual.row(row), x.row(row), factors, s ? s.row(row) : nullptr, sum, n);
        in = sum;
      } else {
        if (s) std::copy_n(x.row(row), n, s.row(row));
        in = as_floats(x.row(row), n, sum);
      }
      const float average = lane_sum(n, [&](std::int64_t c) { return in[c]; }) / static_cast<float>(n);
      const float variance =
          lane_sum(n, [&](std::int64_t c) { return (in[c] - average) * (in[c] - average); }) /
          static_cast<float>(n);
      const float inverse = 1.0f / std::sqrt(variance + eps);
      float* const out = float_target(y.row(row), buffer);
      if (shift)
        for (std::int64_t c = 0; c < n; ++c) out[c] = (in[c] - average) * inverse * scale[c] + shift[c];
      else
        for (std::int64_t c = 0; c < n; ++c) out[c] = (in[c] - average) * inverse * scale[c];
      store(out, y.row(row), n);
      mean[row] = average;
      rstd[row] = inverse;
    }
  });
}

template <class T>
void Norm<T>::layer_norm_backward(MatrixView<const T> dy, MatrixView<const T> s, std::span<const T> weight,
                                  std::span<const W> mean, std::span<const W> rstd, MatrixView<T> ds,
                                  std::span<W> weight_grad, std::span<W> bias_grad, bool accumulate) const {
  const std::int64_t n = dy.cols;
  column_sums<2>(dy.rows, n, {weight_grad, bias_grad}, accumulate,
                 [&](std::int64_t begin, std::int64_t end, const std::array<float*, 2>& sums) {
                   Scratch scratch;
                   const float* const scale = as_floats(weight.data(), n, scratch.take<float>(n));
                   float* const dy_buffer = scratch.take<float>(n);
                   float* const h = scratch.take<float>(n);  // (s - mean) rstd
                   float* const buffer = scratch.take<float>(n);
                   for (std::int64_t row = begin; row < end; ++row) {
                     const float* const d = as_floats(dy.row(row), n, dy_buffer);
                     const float* const in = as_floats(s.row(row), n, h);
                     const float average = mean[row], inverse = rstd[row];
                     for (std::int64_t c = 0; c < n; ++c) h[c] = (in[c] - average) * inverse;
                     const float g_mean =
                         lane_sum(n, [&](std::int64_t c) { return d[c] * scale[c]; }) / static_cast<float>(n);
                     const float gh_mean =
                         lane_sum(n, [&](std::int64_t c) { return d[c] * scale[c] * h[c]; }) /
                         static_cast<float>(n);
                     float* const out = float_target(ds.row(row), buffer);
                     for (std::int64_t c = 0; c < n; ++c) {
                       sums[0][c] += d[c] * h[c];
                       sums[1][c] += d[c];
                     }
                     for (std::int64_t c = 0; c < n; ++c)
                       out[c] = inverse * (d[c] * scale[c] - g_mean - h[c] * gh_mean);
                     store(out, ds.row(row), n);
                   }
                 });
}

template <class T>
void Norm<T>::rms_norm(MatrixView<const T> x, MatrixView<const T> residual, std::span<const T> weight,
                       float eps, MatrixView<T> s, MatrixView<T> y, std::span<W> rstd) const {
  const std::int64_t n = x.cols;
  parallel_chunks(x.rows, rows_per_task(n), [&](std::int64_t begin, std::int64_t end) {
    Scratch scratch;
    const float* const scale = as_floats(weight.data(), n, scratch.take<float>(n));
    float* const sum = scratch.take<float>(n);
    float* const buffer = scratch.take<float>(n);
    for (std::int64_t row = begin; row < end; ++row) {
      const float* in;
      if (residual) {
        add_residual(residual.row(row), x.row(row), nullptr, s ? s.row(row) : nullptr, sum, n);
        in = sum;
      } else {
        if (s) std::copy_n(x.row(row), n, s.row(row));
        in = as_floats(x.row(row), n, sum);
      }
      const float squares =
          lane_sum(n, [&](std::int64_t c) { return in[c] * in[c]; }) / static_cast<float>(n);
      const float inverse = 1.0f / std::sqrt(squares + eps);
      float* const out = float_target(y.row(row), buffer);
      for (std::int64_t c = 0; c < n; ++c) out[c] = in[c] * inverse * scale[c];
      store(out, y.row(row), n);
      rstd[row] = inverse;
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
                   Scratch scratch;
                   const float* const scale = as_floats(weight.data(), n, scratch.take<float>(n));
                   float* const dy_buffer = scratch.take<float>(n);
                   float* const h = scratch.take<float>(n);  // s rstd
                   float* const buffer = scratch.take<float>(n);
                   for (std::int64_t row = begin; row < end; ++row) {
                     const float* const d = as_floats(dy.row(row), n, dy_buffer);
                     const float* const in = as_floats(s.row(row), n, h);
                     const float inverse = rstd[row];
                     for (std::int64_t c = 0; c < n; ++c) h[c] = in[c] * inverse;
                     const float gh_mean =
                         lane_sum(n, [&](std::int64_t c) { return d[c] * scale[c] * h[c]; }) /
                         static_cast<float>(n);
                     float* const out = float_target(ds.row(row), buffer);
                     for (std::int64_t c = 0; c < n; ++c) sums[0][c] += d[c] * h[c];
                     for (std::int64_t c = 0; c < n; ++c)
                       out[c] = inverse * (d[c] * scale[c] - h[c] * gh_mean);
                     store(out, ds.row(row), n);
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
