#pragma once

#include <concepts>
#include <span>

#include <attune/backend/backend.hpp>

namespace attune::cuda {

/// Whether float products may use TF32 (10 bits of mantissa, much faster): off unless set. For the whole
/// process.
inline bool& tf32_allowed() {
  static bool allowed = false;
  return allowed;
}

// Bodies: kernels/matmul.cuh.
template <class T>
struct Matmul {
  using W = Wide<T>;

  void matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, MatmulOptions options) const;
  void matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<W> c, MatmulOptions options) const
      requires(!std::same_as<T, Wide<T>>);
  void linear(MatrixView<const T> x, MatrixView<const T> weight, std::span<const T> bias, Unary activation,
              MatrixView<T> pre_activation, MatrixView<T> y) const;
  void linear_activation_backward(Unary activation, MatrixView<const T> saved, MatrixView<const T> dy,
                                  MatrixView<T> dpre, std::span<W> bias_grad, bool accumulate) const;
  void bias_backward(MatrixView<const T> dy, std::span<W> bias_grad, bool accumulate) const;
};

}  // namespace attune::cuda
