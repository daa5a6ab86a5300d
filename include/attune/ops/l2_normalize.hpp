#pragma once

#include <attune/autograd/apply.hpp>

namespace attune {

namespace detail {

/// y = x / max(|x|, eps) row by row; dx = (dy - y (y . dy)) / |x| where |x| > eps, else dy / eps.
template <class T, class B>
struct L2NormalizeOp {
  static constexpr const char* name = "l2_normalize";
  float eps;
  Saved<T, B> y{};
  Detached<Wide<T>, B> norms{};

  Detached<T, B> forward(Needs, const Detached<T, B>& input) {
    const Detached<T, B> x = input.contiguous_copy();
    const Detached<T, B> result(x.device(), x.shape());
    norms = Detached<Wide<T>, B>(x.device(), {x.matrix().rows});
    x.device().l2_normalize(MatrixView<const T>(x.matrix()), eps, result.matrix(), norms.span());
    y = result;
    return result;
  }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx) const {
    dx.write([&](const Detached<T, B>& out) {
      dy.device().l2_normalize_backward(MatrixView<const T>(dy.matrix()),
                                        MatrixView<const T>(y.get().matrix()),
                                        std::span<const Wide<T>>(norms.span()), eps, out.matrix());
    });
  }
};

}  // namespace detail

/// Each row of x [..., C] divided by its 2-norm, as torch.nn.functional.normalize.
template <class T, class B>
Tensor<T, B> l2_normalize(const Tensor<T, B>& x, float eps = 1e-12f) {
  return apply(detail::L2NormalizeOp<T, B>{eps}, x);
}

}  // namespace attune
