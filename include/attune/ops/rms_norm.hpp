#pragma once

#include <tuple>

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
    return std::get<1>(sum_and_norm(needs, false, input, Detached<T, B>(), DropoutMask<B>(), weight));
  }
  void backward(const Detached<T, B>& dy, Gradient<T, B> dx, Gradient<Wide<T>, B> dw) const {
    const Detached<T, B> ds = sum_gradient(dy, {}, {}, dw);
    if (dx) dx.adopt(ds);
  }

  /// (residual + x, y), or (nothing, y) without residual; there is no dropout.
  std::tuple<Detached<T, B>, Detached<T, B>> sum_and_norm(Needs needs, bool keep_sum,
                                                          const Detached<T, B>& input,
                                                          const Detached<T, B>& residual,
                                                          const DropoutMask<B>&,
                                                          const Detached<T, B>& weight) {
    const Detached<T, B> x = input.has_matrix() ? input : input.clone();
    const Detached<T, B> shortcut = !residual || residual.has_matrix() ? residual : residual.clone();
    const B& device = x.device();
    const Detached<T, B> y(device, x.shape());
    const Detached<T, B> total = keep_sum ? Detached<T, B>(device, x.shape()) : Detached<T, B>();
    rstd = Detached<Wide<T>, B>(device, {x.matrix().rows});
    device.rms_norm(MatrixView<const T>(x.matrix()),
                    shortcut ? MatrixView<const T>(shortcut.matrix()) : MatrixView<const T>(),
                    std::span<const T>(weight.span()), eps, total ? total.matrix() : MatrixView<T>(),
                    y.matrix(), rstd.span());
    if (needs.any) {
      s = total ? total : x;
      w = weight;
    }
    return {total, y};
  }
  /// ds, and the weight's gradient.
  Detached<T, B> sum_gradient(const Detached<T, B>& dy, const DropoutMask<B>&, const Detached<T, B>&,
                              Gradient<Wide<T>, B>& dw) const {
    const Detached<T, B> ds(dy.device(), dy.shape());
    const bool accumulate = dw && dw.accumulate();
    dy.device().rms_norm_backward(MatrixView<const T>(dy.matrix()), MatrixView<const T>(s.get().matrix()),
                                  std::span<const T>(w.get().span()), std::span<const Wide<T>>(rstd.span()),
                                  ds.matrix(), dw ? dw.target().span() : std::span<Wide<T>>(), accumulate);
    return ds;
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
