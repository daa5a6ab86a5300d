#pragma once

#include <algorithm>
#include <tuple>

#include <attune/autograd/apply.hpp>
#include <attune/ops/dropout.hpp>

namespace attune {

namespace detail {

/// s = residual + dropout(x), y = (s - mean) rstd w + b, row by row. Ba, Kiros, Hinton 2016,
/// arXiv:1607.06450. With n = (s - mean) rstd and g = dy w: ds = rstd (g - mean(g) - n mean(g n)), dw = sum
/// dy n, db = sum dy; dresidual = ds and dx = ds mask / (1 - p).
template <class T, class B>
struct LayerNormOp {
  static constexpr const char* name = "layer_norm";
  float eps;
  bool has_residual;
  DropoutMask<B> mask{};
  Saved<T, B> s{}, w{};
  Detached<Wide<T>, B> mean{}, rstd{};

  Detached<T, B> forward(Needs needs, const Detached<T, B>& input, const Detached<T, B>& residual,
                         const Detached<T, B>& weight, const Detached<T, B>& bias) {
    return std::get<1>(sum_and_norm(needs, needs.any, input, residual, mask, weight, bias));
  }

  /// (s, y); s is empty where it is x, or is neither saved nor to be kept.
  std::tuple<Detached<T, B>, Detached<T, B>> sum_and_norm(
      Needs needs, bool keep_sum, const Detached<T, B>& input, const Detached<T, B>& residual,
      const DropoutMask<B>& dropped, const Detached<T, B>& weight, const Detached<T, B>& bias) {
    const Detached<T, B> x = input.has_matrix() ? input : input.clone();
    const Detached<T, B> shortcut = !has_residual || residual.has_matrix() ? residual : residual.clone();
    const B& device = x.device();
    const std::int64_t rows = x.matrix().rows;
    const Detached<T, B> y(device, x.shape());
    const Detached<T, B> total =
        has_residual && keep_sum ? Detached<T, B>(device, x.shape()) : Detached<T, B>();
    mean = Detached<Wide<T>, B>(device, {rows});
    rstd = Detached<Wide<T>, B>(device, {rows});
    device.layer_norm(MatrixView<const T>(x.matrix()),
                      has_residual ? MatrixView<const T>(shortcut.matrix()) : MatrixView<const T>(),
                      dropped.view, std::span<const T>(weight.span()),
                      bias ? std::span<const T>(bias.span()) : std::span<const T>(), eps,
                      total ? total.matrix() : MatrixView<T>(), y.matrix(), mean.span(), rstd.span());
    if (needs.any) {
      s = total ? total : x;
      w = weight;
    }
    return {total, y};
  }

  void backward(const Detached<T, B>& dy, Gradient<T, B> dx, Gradient<T, B> dresidual,
                Gradient<Wide<T>, B> dw, Gradient<Wide<T>, B> db) const {
    const Detached<T, B> dropped = dx && mask ? Detached<T, B>(dy.device(), dy.shape()) : Detached<T, B>();
    const Detached<T, B> ds = sum_gradient(dy, mask, dropped, dw, db);
    if (dx) dx.adopt(dropped ? dropped : ds);
    if (dresidual) dresidual.adopt(ds);
  }

  /// ds; fills the parameters' gradients, and `dropped`, where that is an array, with dropout(ds).
  Detached<T, B> sum_gradient(const Detached<T, B>& dy, const DropoutMask<B>& dropout,
                              const Detached<T, B>& dropped, Gradient<Wide<T>, B>& dw,
                              Gradient<Wide<T>, B>& db) const {
    const B& device = dy.device();
    const Detached<T, B> ds(device, dy.shape());
    // The kernel adds to both or to neither; a gradient without its fellow is asked for alone.
    const bool accumulate = dw && dw.accumulate();
    const bool same = !dw || !db || db.accumulate() == accumulate;
    const auto run = [&](Gradient<Wide<T>, B>* weight_grad, Gradient<Wide<T>, B>* bias_grad, bool add) {
      device.layer_norm_backward(MatrixView<const T>(dy.matrix()), MatrixView<const T>(s.get().matrix()),
                                 std::span<const T>(w.get().span()), std::span<const Wide<T>>(mean.span()),
                                 std::span<const Wide<T>>(rstd.span()), ds.matrix(),
                                 weight_grad ? weight_grad->target().span() : std::span<Wide<T>>(),
                                 bias_grad ? bias_grad->target().span() : std::span<Wide<T>>(), add,
                                 dropout.view, dropped ? dropped.matrix() : MatrixView<T>());
    };
    if (same) {
      run(dw ? &dw : nullptr, db ? &db : nullptr, dw ? accumulate : db && db.accumulate());
    } else {
      run(&dw, nullptr, accumulate);
      run(nullptr, &db, !accumulate);
    }
    return ds;
  }
};

template <class T, class B>
void check_norm(const char* name, const Tensor<T, B>& x, const Parameter<T, B>& weight,
                const Parameter<T, B>& bias) {
  const Shape features{x.shape().back()};
  if (x.rank() < 1 || !(weight.shape() == features) || (bias && !(bias.shape() == features)))
    throw ShapeError(std::string(name) + ": x [..., C] and parameters [C] are needed, found " +
                     x.shape().to_string() + " and " + weight.shape().to_string());
}

}  // namespace detail

/// Layer normalisation of each row of x [..., C]; bias may be an empty parameter.
template <class T, class B>
Tensor<T, B> layer_norm(const Tensor<T, B>& x, const Parameter<T, B>& weight, const Parameter<T, B>& bias,
                        float eps) {
  detail::check_norm("layer_norm", x, weight, bias);
  return apply(detail::LayerNormOp<T, B>{eps, false}, x, Tensor<T, B>(), weight, bias);
}

/// layer_norm(residual + dropout(x)) in one pass: the end of each half of a post-norm transformer layer.
template <class T, class B>
Tensor<T, B> dropout_add_layer_norm(const Tensor<T, B>& x, const DropoutMask<B>& mask,
                                    const Tensor<T, B>& residual, const Parameter<T, B>& weight,
                                    const Parameter<T, B>& bias, float eps) {
  detail::check_norm("dropout_add_layer_norm", x, weight, bias);
  if (!(x.shape() == residual.shape()))
    throw ShapeError("dropout_add_layer_norm: x and residual must agree, found " + x.shape().to_string() +
                     " and " + residual.shape().to_string());
  detail::check_mask("dropout_add_layer_norm", mask, x.size() / std::max<std::int64_t>(1, x.shape().back()));
  return apply(detail::LayerNormOp<T, B>{eps, true, mask}, x, residual, weight, bias);
}

}  // namespace attune
