#pragma once

#include <attune/autograd/apply.hpp>
#include <attune/tensor/device_segments.hpp>

namespace attune {

namespace detail {

/// y[b] = mean of sequence b's rows; dx[row] = dy[b] / length(b).
template <class T, class B>
struct MeanPoolOp {
  static constexpr const char* name = "mean_pool";
  DeviceSegments<B> segments;

  Detached<T, B> forward(Needs, const Detached<T, B>& input) {
    const Detached<T, B> x = input.has_matrix() ? input : input.clone();
    const Detached<T, B> y(x.device(), {segments.count(), x.shape().back()});
    x.device().mean_rows(MatrixView<const T>(x.matrix()), segments.view(), y.matrix());
    return y;
  }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx) const {
    dx.write([&](const Detached<T, B>& out) {
      dy.device().mean_rows_backward(MatrixView<const T>(dy.matrix()), segments.view(), out.matrix());
    });
  }
};

}  // namespace detail

/// The mean over each sequence's tokens: x [N, C], result [B, C].
template <class T, class B>
Tensor<T, B> mean_pool(const Tensor<T, B>& x, const DeviceSegments<B>& segments) {
  if (x.rank() != 2 || x.shape()[0] != segments.tokens())
    throw ShapeError("mean_pool: x [" + std::to_string(segments.tokens()) + ", C] is needed, found " +
                     x.shape().to_string());
  return apply(detail::MeanPoolOp<T, B>{segments}, x);
}

}  // namespace attune
