#pragma once

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>

#include <attune/backend/reference/common.hpp>

namespace attune::reference {

template <class T>
struct Norm {
  using W = Wide<T>;

  /// s = residual + dropout(x); y = (s - mean) rstd weight + bias, rstd = 1 / sqrt(variance + eps).
  /// Ba, Kiros, Hinton, "Layer normalization", arXiv:1607.06450.
  void layer_norm(MatrixView<const T> x, MatrixView<const T> residual, DropoutView dropout,
                  std::span<const T> weight, std::span<const T> bias, float eps, MatrixView<T> s,
                  MatrixView<T> y, std::span<W> mean, std::span<W> rstd) const {
    const std::int64_t n = x.cols;
    for (std::int64_t row = 0; row < x.rows; ++row) {
      // The statistics are those of s as it is stored, since the backward reads it.
      const auto value = [&](std::int64_t c) {
        if (!residual) return double(x.row(row)[c]);
        const double factor = dropout_factor(dropout, row, c);
        const double kept = factor == 0.0 ? 0.0 : double(x.row(row)[c]) * factor;
        return double(T(double(residual.row(row)[c]) + kept));
      };
      double sum = 0.0, squares = 0.0;
      for (std::int64_t c = 0; c < n; ++c) sum += value(c);
      const double average = sum / double(n);
      for (std::int64_t c = 0; c < n; ++c) squares += (value(c) - average) * (value(c) - average);
      const double inverse = 1.0 / std::sqrt(squares / double(n) + double{eps});
      for (std::int64_t c = 0; c < n; ++c) {
        const double scaled = (value(c) - average) * inverse * double(weight[c]);
        y.row(row)[c] = T(bias.empty() ? scaled : scaled + double(bias[c]));
      }
      for (std::int64_t c = 0; s && c < n; ++c) s.row(row)[c] = T(value(c));
      mean[row] = W(average);
      rstd[row] = W(inverse);
    }
  }

  /// With h = (s - mean) rstd and g = dy weight: ds = rstd (g - mean(g) - h mean(g h)).
  void layer_norm_backward(MatrixView<const T> dy, MatrixView<const T> s, std::span<const T> weight,
                           std::span<const W> mean, std::span<const W> rstd, MatrixView<T> ds,
                           std::span<W> weight_grad, std::span<W> bias_grad, bool accumulate,
                           DropoutView dropout = {}, MatrixView<T> dx = {}) const {
    const auto normalized = [&](std::int64_t row, std::int64_t c) {
      return (double(s.row(row)[c]) - double(mean[row])) * double(rstd[row]);
    };
    const std::int64_t n = dy.cols;
    for (std::int64_t row = 0; row < dy.rows; ++row) {
      double sum = 0.0, sum_normalized = 0.0;
      for (std::int64_t c = 0; c < n; ++c) {
        const double g = double(dy.row(row)[c]) * double(weight[c]);
        sum += g;
        sum_normalized += g * normalized(row, c);
      }
      for (std::int64_t c = 0; c < n; ++c) {
        const double g = double(dy.row(row)[c]) * double(weight[c]);
        ds.row(row)[c] =
            T(double(rstd[row]) * (g - sum / double(n) - normalized(row, c) * sum_normalized / double(n)));
        if (!dx) continue;
        const double factor = dropout_factor(dropout, row, c);
        dx.row(row)[c] = T(factor == 0.0 ? 0.0 : double(ds.row(row)[c]) * factor);
      }
    }
    for (std::int64_t c = 0; c < n; ++c) {
      double weight_sum = 0.0, bias_sum = 0.0;
      for (std::int64_t row = 0; row < dy.rows; ++row) {
        weight_sum += double(dy.row(row)[c]) * normalized(row, c);
        bias_sum += double(dy.row(row)[c]);
      }
      store(weight_grad, c, weight_sum, accumulate);
      store(bias_grad, c, bias_sum, accumulate);
    }
  }

  /// s = residual + x; y = s rstd weight, rstd = 1 / sqrt(mean(s^2) + eps).
  /// Zhang, Sennrich, "Root mean square layer normalization", arXiv:1910.07467.
  void rms_norm(MatrixView<const T> x, MatrixView<const T> residual, std::span<const T> weight, float eps,
                MatrixView<T> s, MatrixView<T> y, std::span<W> rstd) const {
    const std::int64_t n = x.cols;
    for (std::int64_t row = 0; row < x.rows; ++row) {
      const auto value = [&](std::int64_t c) {
        if (!residual) return double(x.row(row)[c]);
        return double(T(double(residual.row(row)[c]) + double(x.row(row)[c])));
      };
      double squares = 0.0;
      for (std::int64_t c = 0; c < n; ++c) squares += value(c) * value(c);
      const double inverse = 1.0 / std::sqrt(squares / double(n) + double{eps});
      for (std::int64_t c = 0; c < n; ++c) y.row(row)[c] = T(value(c) * inverse * double(weight[c]));
      for (std::int64_t c = 0; s && c < n; ++c) s.row(row)[c] = T(value(c));
      rstd[row] = W(inverse);
    }
  }

  /// With h = s rstd and g = dy weight: ds = rstd (g - h mean(g h)).
  void rms_norm_backward(MatrixView<const T> dy, MatrixView<const T> s, std::span<const T> weight,
                         std::span<const W> rstd, MatrixView<T> ds, std::span<W> weight_grad,
                         bool accumulate) const {
    const std::int64_t n = dy.cols;
    for (std::int64_t row = 0; row < dy.rows; ++row) {
      const double r = double(rstd[row]);
      double sum = 0.0;
      for (std::int64_t c = 0; c < n; ++c)
        sum += double(dy.row(row)[c]) * double(weight[c]) * double(s.row(row)[c]) * r;
      for (std::int64_t c = 0; c < n; ++c)
        ds.row(row)[c] =
            T(r * (double(dy.row(row)[c]) * double(weight[c]) - double(s.row(row)[c]) * r * sum / double(n)));
    }
    for (std::int64_t c = 0; c < n; ++c) {
      double sum = 0.0;
      for (std::int64_t row = 0; row < dy.rows; ++row)
        sum += double(dy.row(row)[c]) * double(s.row(row)[c]) * double(rstd[row]);
      store(weight_grad, c, sum, accumulate);
    }
  }

  /// y = x / max(|x|, eps), as torch.nn.functional.normalize.
  void l2_normalize(MatrixView<const T> x, float eps, MatrixView<T> y, std::span<W> norms) const {
    for (std::int64_t row = 0; row < x.rows; ++row) {
      double squares = 0.0;
      for (std::int64_t c = 0; c < x.cols; ++c) squares += double(x.row(row)[c]) * double(x.row(row)[c]);
      const double norm = std::sqrt(squares);
      for (std::int64_t c = 0; c < x.cols; ++c)
        y.row(row)[c] = T(double(x.row(row)[c]) / std::max(norm, double{eps}));
      norms[row] = W(norm);
    }
  }

  /// dx = (dy - y (y . dy)) / |x|, or dy / eps where |x| < eps.
  void l2_normalize_backward(MatrixView<const T> dy, MatrixView<const T> y, std::span<const W> norms,
                             float eps, MatrixView<T> dx) const {
    for (std::int64_t row = 0; row < dy.rows; ++row) {
      const bool clamped = double(norms[row]) < double{eps};
      double dot = 0.0;
      for (std::int64_t c = 0; c < dy.cols; ++c) dot += double(dy.row(row)[c]) * double(y.row(row)[c]);
      for (std::int64_t c = 0; c < dy.cols; ++c)
        dx.row(row)[c] =
            T(clamped ? double(dy.row(row)[c]) / double{eps}
                      : (double(dy.row(row)[c]) - double(y.row(row)[c]) * dot) / double(norms[row]));
    }
  }

  void softmax(MatrixView<const T> x, MatrixView<T> y) const {
    for (std::int64_t row = 0; row < x.rows; ++row) {
      double largest = -std::numeric_limits<double>::infinity(), sum = 0.0;
      for (std::int64_t c = 0; c < x.cols; ++c) largest = std::max(largest, double(x.row(row)[c]));
      for (std::int64_t c = 0; c < x.cols; ++c) sum += std::exp(double(x.row(row)[c]) - largest);
      for (std::int64_t c = 0; c < x.cols; ++c)
        y.row(row)[c] = T(std::exp(double(x.row(row)[c]) - largest) / sum);
    }
  }

  /// dx = y (dy - y . dy)
  void softmax_backward(MatrixView<const T> y, MatrixView<const T> dy, MatrixView<T> dx) const {
    for (std::int64_t row = 0; row < y.rows; ++row) {
      double dot = 0.0;
      for (std::int64_t c = 0; c < y.cols; ++c) dot += double(y.row(row)[c]) * double(dy.row(row)[c]);
      for (std::int64_t c = 0; c < y.cols; ++c)
        dx.row(row)[c] = T(double(y.row(row)[c]) * (double(dy.row(row)[c]) - dot));
    }
  }

 private:
  static void store(std::span<W> target, std::int64_t at, double value, bool accumulate) {
    if (!target.empty()) target[at] = W(accumulate ? double(target[at]) + value : value);
  }
};

}  // namespace attune::reference
