#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <tuple>

#include <attune/ops/dropout.hpp>
#include <attune/ops/layer_norm.hpp>
#include <attune/ops/rms_norm.hpp>

namespace attune {

namespace detail {

/// The sum before a norm and the norm, both of which are read further on: in one pass what would be a
/// dropout, a sum and a norm. `Norm` is LayerNormOp or RmsNormOp; its parameters' values and gradients
/// follow.
template <class T, class B, class Norm>
struct AddNormOp {
  static constexpr const char* name = "add_norm";
  Norm norm;
  DropoutMask<B> mask{};

  template <class... Parameters>
  std::tuple<Detached<T, B>, Detached<T, B>> forward(Needs needs, const Detached<T, B>& x,
                                                     const Detached<T, B>& residual,
                                                     const Parameters&... parameters) {
    return norm.sum_and_norm(needs, /*keep_sum=*/true, x, residual, mask, parameters...);
  }

  template <class... ParameterGradients>
  void backward(const std::tuple<Detached<T, B>, Detached<T, B>>& gradients, Gradient<T, B> dx,
                Gradient<T, B> dresidual, ParameterGradients... parameters) const {
    const auto& [dsum, dy] = gradients;
    const Detached<T, B> ds = dy ? norm.sum_gradient(dy, {}, {}, parameters...) : dsum;
    if (dy && dsum) ds.device().copy_strided(dsum.const_view(), ds.view(), true);
    if (dx && mask) {
      const Detached<T, B> dropped(ds.device(), ds.shape());
      ds.device().dropout(MatrixView<const T>(ds.matrix()), mask.view, dropped.matrix());
      dx.adopt(dropped);
    } else if (dx) {
      dx.adopt(ds);
    }
    if (dresidual) dresidual.adopt(ds);
  }
};

template <class T, class B>
void check_sum(const char* name, const Tensor<T, B>& x, const DropoutMask<B>& mask,
               const Tensor<T, B>& residual) {
  if (!(x.shape() == residual.shape()))
    throw ShapeError(std::string(name) + ": x and residual must agree, found " + x.shape().to_string() +
                     " and " + residual.shape().to_string());
  check_mask(name, mask, x.size() / std::max<std::int64_t>(1, x.shape().back()));
}

}  // namespace detail

/// (s, layer_norm(s)) with s = residual + dropout(x) [..., C]; bias may be an empty parameter.
template <class T, class B>
std::tuple<Tensor<T, B>, Tensor<T, B>> add_layer_norm(const Tensor<T, B>& x, const DropoutMask<B>& mask,
                                                      const Tensor<T, B>& residual,
                                                      const Parameter<T, B>& weight,
                                                      const Parameter<T, B>& bias, float eps) {
  detail::check_norm("add_layer_norm", x, weight, bias);
  detail::check_sum("add_layer_norm", x, mask, residual);
  using Norm = detail::LayerNormOp<T, B>;
  return apply(detail::AddNormOp<T, B, Norm>{Norm{eps, true}, mask}, x, residual, weight, bias);
}

/// (s, rms_norm(s)) with s = residual + x [..., C].
template <class T, class B>
std::tuple<Tensor<T, B>, Tensor<T, B>> add_rms_norm(const Tensor<T, B>& x, const Tensor<T, B>& residual,
                                                    const Parameter<T, B>& weight, float eps) {
  detail::check_norm("add_rms_norm", x, weight, Parameter<T, B>());
  detail::check_sum("add_rms_norm", x, DropoutMask<B>(), residual);
  using Norm = detail::RmsNormOp<T, B>;
  return apply(detail::AddNormOp<T, B, Norm>{Norm{eps}}, x, residual, weight);
}

}  // namespace attune
