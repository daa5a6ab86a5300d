#pragma once

#include <span>

#include <attune/backend/view.hpp>
#include <attune/core/dtype.hpp>

namespace attune::cuda {

// Bodies: kernels/norm.cuh.
template <class T>
struct Norm {
  using W = Wide<T>;

  void layer_norm(MatrixView<const T> x, MatrixView<const T> residual, DropoutView dropout,
                  std::span<const T> weight, std::span<const T> bias, float eps, MatrixView<T> s,
                  MatrixView<T> y, std::span<W> mean, std::span<W> rstd) const;
  void layer_norm_backward(MatrixView<const T> dy, MatrixView<const T> s, std::span<const T> weight,
                           std::span<const W> mean, std::span<const W> rstd, MatrixView<T> ds,
                           std::span<W> weight_grad, std::span<W> bias_grad, bool accumulate,
                           DropoutView dropout = {}, MatrixView<T> dx = {}) const;
  void rms_norm(MatrixView<const T> x, MatrixView<const T> residual, std::span<const T> weight, float eps,
                MatrixView<T> s, MatrixView<T> y, std::span<W> rstd) const;
  void rms_norm_backward(MatrixView<const T> dy, MatrixView<const T> s, std::span<const T> weight,
                         std::span<const W> rstd, MatrixView<T> ds, std::span<W> weight_grad,
                         bool accumulate) const;
  void l2_normalize(MatrixView<const T> x, float eps, MatrixView<T> y, std::span<W> norms) const;
  void l2_normalize_backward(MatrixView<const T> dy, MatrixView<const T> y, std::span<const W> norms,
                             float eps, MatrixView<T> dx) const;
  void softmax(MatrixView<const T> x, MatrixView<T> y) const;
  void softmax_backward(MatrixView<const T> y, MatrixView<const T> dy, MatrixView<T> dx) const;
};

}  // namespace attune::cuda
