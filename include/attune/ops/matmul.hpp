#pragma once

#include <attune/autograd/apply.hpp>

namespace attune {

namespace detail {

/// C = A B for matrices, or for equally many matrices in a row. dA = dC B^T, dB = A^T dC.
template <class T, class B>
struct MatmulOp {
  static constexpr const char* name = "matmul";
  Saved<T, B> a{}, b{};

  Detached<T, B> forward(Needs needs, const Detached<T, B>& left, const Detached<T, B>& right) {
    const Detached<T, B> x = left.contiguous_copy(), z = right.contiguous_copy();
    Shape shape = x.shape();
    shape[shape.rank() - 1] = z.shape().back();
    const Detached<T, B> y(x.device(), shape);
    multiply(x, z, y, {});
    if (needs[1]) a = x;
    if (needs[0]) b = z;
    return y;
  }
  void backward(const Detached<T, B>& dy, Gradient<T, B> da, Gradient<T, B> db) const {
    if (da) {
      const float beta = da.beta();
      multiply(dy, b.get(), da.target(), {.transpose_b = true, .beta = beta});
    }
    if (db) {
      const float beta = db.beta();
      multiply(a.get(), dy, db.target(), {.transpose_a = true, .beta = beta});
    }
  }

 private:
  static MatrixView<T> last_two(const Detached<T, B>& x) {
    const std::int64_t cols = x.shape().back();
    return {x.data(), x.shape()[x.rank() - 2], cols, cols};
  }
  static void multiply(const Detached<T, B>& x, const Detached<T, B>& z, const Detached<T, B>& y,
                       MatmulOptions options) {
    const MatrixView<T> a = last_two(x), b = last_two(z), c = last_two(y);
    options.batch = x.rank() == 3 ? x.shape()[0] : 1;
    options.batch_stride_a = a.rows * a.cols;
    options.batch_stride_b = b.rows * b.cols;
    options.batch_stride_c = c.rows * c.cols;
    y.device().matmul(MatrixView<const T>(a), MatrixView<const T>(b), c, options);
  }
};

}  // namespace detail

/// a [M, K] times b [K, N], or [G, M, K] times [G, K, N].
template <class T, class B>
Tensor<T, B> matmul(const Tensor<T, B>& a, const Tensor<T, B>& b) {
  const int rank = a.rank();
  if ((rank != 2 && rank != 3) || b.rank() != rank || a.shape().back() != b.shape()[rank - 2] ||
      (rank == 3 && a.shape()[0] != b.shape()[0]))
    throw ShapeError("matmul: [M, K] and [K, N] or [G, M, K] and [G, K, N] are needed, found " +
                     a.shape().to_string() + " and " + b.shape().to_string());
  return apply(detail::MatmulOp<T, B>{}, a, b);
}

}  // namespace attune
