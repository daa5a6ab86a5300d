#pragma once

#include <attune/autograd/apply.hpp>

namespace attune {

namespace detail {

/// y = exp(x) / sum exp(x) over the last dimension; dx = y (dy - sum(dy y)).
template <class T, class B>
struct SoftmaxOp {
  static constexpr const char* name = "softmax";
  Saved<T, B> y{};

  Detached<T, B> forward(Needs, const Detached<T, B>& input) {
    const Detached<T, B> x = input.contiguous_copy();
    const Detached<T, B> result(x.device(), x.shape());
    x.device().softmax(MatrixView<const T>(x.matrix()), result.matrix());
    y = result;
    return result;
  }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx) const {
    dx.write([&](const Detached<T, B>& out) {
      dy.device().softmax_backward(MatrixView<const T>(y.get().matrix()), MatrixView<const T>(dy.matrix()),
                                   out.matrix());
    });
  }
};

}  // namespace detail

/// Softmax over the last dimension.
template <class T, class B>
Tensor<T, B> softmax(const Tensor<T, B>& x) {
  return apply(detail::SoftmaxOp<T, B>{}, x);
}

}  // namespace attune
