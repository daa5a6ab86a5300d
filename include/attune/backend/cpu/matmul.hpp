#pragma once

#include <span>

#include <attune/backend/backend.hpp>
#include <attune/core/inline.hpp>

namespace attune::cpu {

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
  void bias_backward(MatrixView<const T> dy, std::span<W> bias_grad, bool accumulate) const;
};

#ifdef ATTUNE_DECLARATIONS_ONLY
extern template struct Matmul<float>;
extern template struct Matmul<bfloat16>;
#endif

}  // namespace attune::cpu

#ifndef ATTUNE_DECLARATIONS_ONLY
#include <attune/backend/cpu/matmul.inl.hpp>
#endif
