#pragma once

#include <cstddef>
#include <span>

#include <attune/backend/backend.hpp>

namespace attune::cuda {

/// Whether float products may use TF32 (10 bits of mantissa, much faster): off unless set. For the whole
/// process.
inline bool& tf32_allowed() {
  static bool allowed = false;
  return allowed;
}

/// How many bytes of a matrix in quantised blocks are made elements at once, in workspace, for the products
/// that read it: more makes larger products, fewer keep them in the device's cache. 8 MiB unless set, for the
/// whole process.
inline std::size_t& block_tile_bytes() {
  static std::size_t bytes = std::size_t{8} << 20;
  return bytes;
}

// Bodies: kernels/matmul.cuh; of the products with blocks: kernels/blocks.cuh.
template <class T>
struct Matmul {
  using W = Wide<T>;

  void matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c, MatmulOptions options) const;
  void matmul(MatrixView<const T> a, MatrixView<const T> b, MatrixView<OtherWide<T>> c,
              MatmulOptions options) const;
  void linear(MatrixView<const T> x, MatrixView<const T> weight, std::span<const T> bias, Unary activation,
              MatrixView<T> pre_activation, MatrixView<T> y) const;
  void matmul(MatrixView<const T> a, BlockView b, MatrixView<T> c, MatmulOptions options) const;
  void linear(MatrixView<const T> x, BlockView weight, std::span<const T> bias, Unary activation,
              MatrixView<T> pre_activation, MatrixView<T> y) const;
  void linear_activation_backward(Unary activation, MatrixView<const T> saved, MatrixView<const T> dy,
                                  MatrixView<T> dpre, std::span<W> bias_grad, bool accumulate) const;
  void matmul_activation_backward(MatrixView<const T> dy, MatrixView<const T> weight, Unary activation,
                                  MatrixView<const T> saved, MatrixView<T> dpre, std::span<W> bias_grad,
                                  bool accumulate) const;
  void bias_backward(MatrixView<const T> dy, std::span<W> bias_grad, bool accumulate) const;
};

}  // namespace attune::cuda
