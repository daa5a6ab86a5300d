#pragma once

#include <attune/autograd/apply.hpp>
#include <attune/ops/layer_norm.hpp>

namespace attune {

namespace detail {

/// y = x rstd w with rstd = 1 / sqrt(mean(x^2) + eps). Zhang, Sennrich 2019, arXiv:1910.07467.
/// With n = x rstd and g = dy w: dx = rstd (g - n mean(g n)), dw = sum dy n.
template <class T, class B>
struct RmsNormOp {
  static constexpr const char* name = "rms_norm";
  float eps;
  Saved<T, B> s{}, w{};
  Detached<Wide<T>, B> rstd{};

  Detached<T, B> forward(Needs needs, const Detached<T, B>& input, const Detached<T, B>& weight) {
    const Detached<T, B> x = input.has_matrix() ? input : input.clone();
    const Detached<T, B> y(x.device(), x.shape());
    rstd = Detached<Wide<T>, B>(x.device(), {x.matrix().rows});
    x.device().rms_norm(MatrixView<const T>(x.matrix()), MatrixView<const T>(),
                        std::span<const T>(weight.span()), eps, MatrixView<T>(), y.matrix(), rstd.span());
    if (needs.any) {
      s = x;
      w = weight;
    }
    return y;
  }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx, Gradient<Wide<T>, B> dw) const {
    const Detached<T, B> ds(dy.device(), dy.shape());
    const bool accumulate = dw && dw.accumulate();
    dy.device().rms_norm_backward(MatrixView<const T>(dy.matrix()), MatrixView<const T>(s.get().matrix()),
                                  std::span<const T>(w.get().span()), std::span<const Wide<T>>(rstd.span()),
                                  ds.matrix(), dw ? dw.target().span() : std::span<Wide<T>>(), accumulate);
    if (dx) dx.adopt(ds);
  }
};

}  // namespace detail

/// Root-mean-square normalisation of each row of x [..., C].
template <class T, class B>
Tensor<T, B> rms_norm(const Tensor<T, B>& x, const Parameter<T, B>& weight, float eps) {
  detail::check_norm("rms_norm", x, weight, Parameter<T, B>());
  return apply(detail::RmsNormOp<T, B>{eps}, x, weight);
}

}  // namespace attune
