#pragma once

#include <span>

#include <attune/backend/op_tags.hpp>
#include <attune/backend/view.hpp>

namespace attune::cuda {

// Bodies: kernels/elementwise.cuh.
template <class T>
struct Elementwise {
  void unary(Unary op, std::span<const T> x, std::span<T> y) const;
  void unary_backward(Unary op, std::span<const T> saved, std::span<const T> dy, std::span<T> dx) const;
  void binary(Binary op, MatrixView<const T> a, MatrixView<const T> b, MatrixView<T> c) const;
  void axpby(float alpha, std::span<const T> x, float beta, std::span<T> y) const;
  void axpby(const Wide<T>* alpha, std::span<const T> x, float beta, std::span<T> y) const;
  void dropout(MatrixView<const T> x, DropoutView dropout, MatrixView<T> y) const;
  void swiglu(MatrixView<const T> gate, MatrixView<const T> up, MatrixView<T> y) const;
  void swiglu_backward(MatrixView<const T> gate, MatrixView<const T> up, MatrixView<const T> dy,
                       MatrixView<T> dgate, MatrixView<T> dup) const;
};

}  // namespace attune::cuda
