#pragma once

#include <attune/autograd/apply.hpp>

namespace attune {

namespace detail {

/// y = x in the wide type; dx = dy rounded back.
template <class T, class B>
struct WidenOp {
  static constexpr const char* name = "widen";

  Detached<Wide<T>, B> forward(Needs, const Detached<T, B>& input) {
    const Detached<T, B> x = input.contiguous_copy();
    const Detached<Wide<T>, B> y(x.device(), x.shape());
    x.device().cast(std::span<const T>(x.span()), y.span());
    return y;
  }
  void backward(const Detached<Wide<T>, B>& dy, Gradient<T, B> dx) const {
    dx.write([&](const Detached<T, B>& out) {
      dy.device().cast(std::span<const Wide<T>>(dy.span()), out.span());
    });
  }
};

}  // namespace detail

/// x in Wide<T>: float for bfloat16, itself for float and double.
template <class T, class B>
Tensor<Wide<T>, B> widen(const Tensor<T, B>& x) {
  if constexpr (std::is_same_v<T, Wide<T>>) {
    return x;
  } else {
    return apply(detail::WidenOp<T, B>{}, x);
  }
}

}  // namespace attune
